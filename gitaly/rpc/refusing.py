"""Which ended calls an operator may look for, and under what heading."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc

from gitaly.observe.refusals import Refusals
from gitaly.rpc.call import Call, peer_of, repository_of

AUTH: Final = "auth"
# Not here: what is the request's own fault, or was found not to exist, and clients that went away.
KINDS: Final[Mapping[grpc.StatusCode, str]] = MappingProxyType(
    {
        grpc.StatusCode.UNAUTHENTICATED: AUTH,
        grpc.StatusCode.PERMISSION_DENIED: AUTH,
        grpc.StatusCode.RESOURCE_EXHAUSTED: "overload",
        grpc.StatusCode.DEADLINE_EXCEEDED: "error",
        grpc.StatusCode.INTERNAL: "error",
        grpc.StatusCode.UNAVAILABLE: "error",
        grpc.StatusCode.UNKNOWN: "error",
        grpc.StatusCode.DATA_LOSS: "error",
        grpc.StatusCode.ABORTED: "error",
    }
)


def remember(refusals: Refusals, call: Call, client_name: str, now: float) -> None:
    """Note a call that has ended badly, if it is one to be noted. `now`: seconds since 1970."""
    outcome, kind = call.outcome, _kind(call)
    if kind is not None:
        refusals.note(
            kind,
            reason=call.refusal or outcome.log_error or outcome.message,
            rpc=call.method.short,
            repository=repository_of(call),
            client=client_name,
            user=call.single("username") or call.single("user_id"),
            peer=peer_of(call),
            correlation_id=call.correlation_id,
            now=now,
        )


def _kind(call: Call) -> str | None:
    if call.refusal:
        return "hook"
    if "cgroup.limit" in call.outcome.log_metadata:
        return "memory"
    if "limit.concurrency_dropped" in call.log_fields:
        return "limit"
    return KINDS.get(call.outcome.code)
