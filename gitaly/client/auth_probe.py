"""Asks a node whether it accepts a token, and how far the clocks are apart.

A node of ours answers both beside its answer, if it is asked to. With Gitaly and Praefect the same
is found out by trying.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc

from gitaly._pb.server_pb2 import ServerInfoRequest
from gitaly.client.calls import CallFailed, failed
from gitaly.client.connection import NodeConnection
from gitaly.token import MODE_KEY, TEST_KEY, TIME_KEY, VERDICT_KEY, make_token

METHOD: Final = "/gitaly.ServerService/ServerInfo"  # Praefect answers it, too
ANSWER_SECONDS: Final = 10.0
VALIDITY_SECONDS: Final = 30
FIRST_STEP_SECONDS: Final = 60
LAST_STEP_SECONDS: Final = 2**31
REFUSALS: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
NO_ANSWER: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
EXPIRED: Final = "token has expired"
FROM_FUTURE: Final = "validity window is in future"
NOT_ENFORCED: Final = "not enforced"  # off or transitioning: nobody can tell from outside


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkew:
    """How far this machine's clock is ahead of the node's, at most `error` off."""

    seconds: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a node says of a token."""

    mode: str  # "enforced", "transitioning", "off", NOT_ENFORCED
    is_accepted: bool | None  # None: everybody is let in, and nobody says whether it is good
    reason: str = ""  # why it is refused, or would be
    skew: ClockSkew | None = None  # None: not measured; below 30 s if the token is accepted


@dataclass(frozen=True, slots=True)
class _Answer:
    refusal: CallFailed | None
    told: Mapping[str, str]  # the trailing metadata
    asked: float  # seconds since 1970
    took: float


_Ask = Callable[..., Awaitable[_Answer]]  # of a secret and, perhaps, of a clock that is off


async def probe(node: NodeConnection, secret: bytes, seconds: float = ANSWER_SECONDS) -> Verdict:
    """Ask once; a node that does not say all of it, until it is known.

    `node` must send no token of its own. `seconds`: for each answer, and for all that are needed
    to find how far a clock is off. Raises CallFailed if there is no answer, with DEADLINE_EXCEEDED
    if it takes longer.
    """
    ask = partial(_ask, node, seconds)
    answer = await ask(secret)
    if MODE_KEY in answer.told:
        return _as_told(answer)
    if answer.refusal is not None:
        reason = answer.refusal.message.removeprefix("permission denied: ")
        skew = await _bisected(ask, secret, reason, seconds) if secret else None
        return Verdict(mode="enforced", is_accepted=False, reason=reason, skew=skew)
    if not secret or (await ask(b"")).refusal is None:
        return Verdict(mode=NOT_ENFORCED, is_accepted=None)
    return Verdict(mode="enforced", is_accepted=True)


def _as_told(answer: _Answer) -> Verdict:
    mode, verdict = answer.told[MODE_KEY], answer.told.get(VERDICT_KEY, "")
    skew = None
    with suppress(KeyError, ValueError):
        ahead = answer.asked + answer.took / 2 - float(answer.told[TIME_KEY])
        skew = ClockSkew(seconds=ahead, error=answer.took / 2)
    if mode == "off":
        return Verdict(mode=mode, is_accepted=None, skew=skew)
    is_good = verdict == "ok"
    return Verdict(mode=mode, is_accepted=is_good, reason="" if is_good else verdict, skew=skew)


async def _bisected(ask: _Ask, secret: bytes, reason: str, seconds: float) -> ClockSkew | None:
    """Find the oldest time that the node accepts: its own, less thirty seconds.

    None if clocks are not the reason, or it takes too long.
    """
    if EXPIRED not in reason and FROM_FUTURE not in reason:
        return None
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await _oldest(partial(_is_too_old, ask, secret))
    return None


async def _oldest(is_too_old: Callable[[int], Awaitable[bool]]) -> ClockSkew | None:
    low = high = 0  # seconds from our time: low is too old for the node, high is not
    step = FIRST_STEP_SECONDS
    while await is_too_old(high):
        low, high, step = high, high + step, step * 2
        if step > LAST_STEP_SECONDS:
            return None
    while low == high or not await is_too_old(low):
        high, low, step = low, low - step, step * 2
        if step > LAST_STEP_SECONDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if await is_too_old(middle):
            low = middle
        else:
            high = middle
    return ClockSkew(seconds=-float(high + VALIDITY_SECONDS - 1), error=1.5)


async def _is_too_old(ask: _Ask, secret: bytes, offset: int) -> bool:
    answer = await ask(secret, offset)
    return answer.refusal is not None and EXPIRED in answer.refusal.message


async def _ask(node: NodeConnection, seconds: float, secret: bytes, offset: int = 0) -> _Answer:
    return await asyncio.to_thread(_ask_blocking, node, seconds, secret, offset)


def _ask_blocking(node: NodeConnection, seconds: float, secret: bytes, offset: int) -> _Answer:
    asked, started = time.time(), time.monotonic()
    metadata = [*node.metadata(), (TEST_KEY, "1")]
    if secret:
        metadata.append(("authorization", make_token(secret, asked + offset)))
    # Any: grpc's stubs know neither the call's last words nor bytes that are not parsed
    ask: Any = node.channel.unary_unary(METHOD)
    refusal = None
    try:
        _, call = ask.with_call(
            ServerInfoRequest().SerializeToString(), metadata=metadata, timeout=seconds
        )
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        call = error
        if call.code() in NO_ANSWER:
            raise failed(call) from error
        if call.code() in REFUSALS:  # any other error is that of a call that was let in
            refusal = failed(call)
    told = {key: value for key, value in call.trailing_metadata() or () if isinstance(value, str)}
    return _Answer(refusal, told, asked, time.monotonic() - started)
