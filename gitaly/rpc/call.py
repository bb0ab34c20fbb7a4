"""One call while it runs: what is known about it, and what it has done so far."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from gitaly.git import Account
from gitaly.rpc.contract import Method
from gitaly.rpc.status import SUCCESS, Outcome


class Connection(Protocol):
    """The connection that a call came in on, as far as `rpc` cares."""

    @property
    def peer_address(self) -> str:
        """Where the client is: "127.0.0.1:4711", or empty for a unix socket."""

    @property
    def is_internal(self) -> bool:
        """Whether it is one to the socket that hooks of ours call."""


class Traffic(Protocol):
    """What carries bytes of a call beside its messages."""

    @property
    def received_bytes(self) -> int:
        """From the client, so far."""

    @property
    def sent_bytes(self) -> int:
        """To the client, so far."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """What a service may know about its caller, and where it leaves what the log shall show."""

    method: Method
    metadata: Mapping[str, str]  # the first value of each key; binary values are left out
    all_metadata: Sequence[tuple[str, str | bytes]]
    started: float  # monotonic seconds
    ended: float = 0.0  # monotonic seconds; set when the handler has returned
    deadline: float | None = None  # monotonic seconds; None if the client set none
    connection: Connection | None = None  # None for a program that git has started
    account: Account
    log_fields: dict[str, object] = field(default_factory=dict)
    first_request: Message | None = None
    received_messages: int = 0
    received_bytes: int = 0
    sent_messages: int = 0
    sent_bytes: int = 0
    beside: Traffic | None = None  # its sidechannel, for instance
    refusal: str = ""  # why a hook has said no; the call itself may have ended well
    admit: Callable[[Message], Awaitable[None]] | None = None  # lets the first message wait
    base_cost: int | None = None  # None: the client is not told what the call cost
    outcome: Outcome = SUCCESS
    trailers: tuple[tuple[str, str], ...] = ()  # what the client is told beside the answer
    reply: bytes = b""  # the one response of a call without a server stream

    @property
    def correlation_id(self) -> str:
        """What ties the log lines of all GitLab components about one request together."""
        return self.account.correlation_id

    def last(self, key: str) -> str | None:
        """The last value of a metadata key; proxies append theirs."""
        values = [v for k, v in self.all_metadata if k == key and isinstance(v, str)]
        return values[-1] if values else None

    def single(self, key: str) -> str:
        """The value of a key that may be given once; empty if it is missing or given twice."""
        values = [v for k, v in self.all_metadata if k == key and isinstance(v, str)]
        return values[0] if len(values) == 1 else ""


def repository_of(call: Call) -> str:
    """ "<storage>/<relative path>", as the client gave it; empty if the call is about none."""
    request = call.first_request
    found = call.method.target_repository(request) if request is not None else None
    return f"{found.storage_name}/{found.relative_path}" if found is not None else ""


def peer_of(call: Call) -> str:
    """ "127.0.0.1:4711", "unix"; empty for a program that git has started."""
    return "" if call.connection is None else call.connection.peer_address or "unix"
