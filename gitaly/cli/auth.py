"""`gitaly auth test`: whether a node accepts a token, and what stands in the way."""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from grpc import StatusCode

from gitaly.client import CallFailed, CannotDial, dial
from gitaly.client.address import Address, parse_address
from gitaly.client.auth_probe import NOT_ENFORCED, ClockSkew, Verdict, probe
from gitaly.client.certificates import Presented, SilentPeer, presented_by, tls_reason
from gitaly.config import Config, load
from gitaly.errors import InvalidRequest, NodeError
from gitaly.token import fingerprints

ACCEPTED: Final = 0
REFUSED: Final = 1
WRONG_QUESTION: Final = 2
NOT_PROVEN: Final = 3  # everybody is let in, so it says nothing that we are
NOT_REACHED: Final = 4
METADATA: Final = (("x-gitlab-client-name", "gitaly-auth-test"),)
LOOK: Final = "on its machine, ask `gitaly status CONFIG`"
HANGS: Final = f"the node hangs or has too much to do, or something else listens there; {LOOK}"
FULL: Final = f"the node hangs, and so many wait already that nobody may join them; {LOOK}"
DROPPED: Final = "its machine is off, or a firewall drops what is sent to it"
MODES: Final = {
    "enforced": "enforced",
    "transitioning": "transitioning: everybody is let in for now",
    "off": "off: everybody is let in",
    NOT_ENFORCED: "not enforced: everybody is let in (off or transitioning, it cannot be seen)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which node, and which tokens."""

    address: str
    tokens: tuple[bytes, ...] = field(repr=False)  # none: it is asked without one
    source: str  # of the tokens
    patience_seconds: float = 10.0  # for a connection, and for each answer


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found out, as far as it went."""

    address: Address
    question: Question
    error: str = ""  # why there is no answer
    presented: Presented | None = None  # None: no TLS
    verdicts: list[Verdict] = field(default_factory=list)  # in the order of the tokens

    @property
    def exit_code(self) -> int:
        if self.error:
            return NOT_REACHED
        answers = [verdict.is_accepted for verdict in self.verdicts]
        if False in answers:
            return REFUSED
        return NOT_PROVEN if None in answers else ACCEPTED

    @property
    def skew(self) -> ClockSkew | None:
        """The best that was measured."""
        found = [verdict.skew for verdict in self.verdicts if verdict.skew is not None]
        return min(found, key=lambda skew: skew.error, default=None)


def try_token(
    address: str, token_file: str, config_path: str, *, patience_seconds: float, as_json: bool
) -> int:
    """Ask and print; the exit code."""
    try:
        question = replace(
            _question(address, token_file, config_path), patience_seconds=patience_seconds
        )
        parsed = parse_address(question.address)
    except (NodeError, OSError) as error:
        print(f"gitaly auth test: {error}", file=sys.stderr)
        return WRONG_QUESTION
    findings = asyncio.run(_found(question, parsed))
    if as_json:
        print(json.dumps(_as_json(findings), indent=2))
    else:
        for line in _lines(findings):
            print(line)
    return findings.exit_code


def _question(address: str, token_file: str, config_path: str) -> Question:
    """The token: of --token-file, else of --config, else of GITALY_TOKEN. Raises NodeError."""
    config: Config | None = load(config_path) if config_path else None
    if not address:
        if config is None:
            raise InvalidRequest("ADDRESS or --config is needed")
        address = config.client_address()
    if token_file:
        with open(token_file, "rb") as file:
            tokens: tuple[bytes, ...] = (file.read().strip(),)
        source = token_file
    elif config is not None:
        tokens = tuple(x.encode("utf-8", "surrogateescape") for x in config.auth.secrets)
        source = config_path
    else:
        tokens, source = (os.environb.get(b"GITALY_TOKEN", b""),), "GITALY_TOKEN"
    return Question(address=address, tokens=tuple(filter(None, tokens)), source=source)


async def _found(question: Question, address: Address) -> Findings:
    findings = Findings(address=address, question=question)
    try:
        if address.tls:
            findings.presented = await presented_by(address, question.patience_seconds)
            if findings.presented.distrust:
                # A token is good for half a minute, and at this node: not for a stranger's eyes.
                findings.error = f"not trusted: {findings.presented.distrust}; no token was sent"
                return findings
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(question.patience_seconds):
                dialled = dial(question.address, metadata=METADATA)
                node = await stack.enter_async_context(dialled)
            for token in question.tokens or (b"",):
                findings.verdicts.append(await probe(node, token, question.patience_seconds))
    except (CallFailed, CannotDial) as error:
        is_silent = isinstance(error, CallFailed) and error.code is StatusCode.DEADLINE_EXCEEDED
        findings.error = _silence(question) if is_silent else error.message or "no answer"
    except SilentPeer:
        findings.error = _silence(question)
    except TimeoutError:
        why = FULL if address.path else DROPPED
        findings.error = f"no connection within {question.patience_seconds:g} seconds: {why}"
    except ssl.SSLError as error:
        findings.error = f"TLS: {tls_reason(error)}"
    except OSError as error:
        findings.error = error.strerror or str(error)
    return findings


def _silence(question: Question) -> str:
    seconds = question.patience_seconds
    return f"connected, and no answer within {seconds:g} seconds: {HANGS}"


def _lines(findings: Findings) -> Iterator[str]:
    yield f"Address: {findings.address}"
    if findings.presented is not None:
        yield f"TLS: {_tls_text(findings.presented)}"
    if findings.error:
        yield f"Answer: FAILED ({findings.error})"
        return
    verdicts = findings.verdicts
    yield f"Authentication: {MODES.get(verdicts[0].mode, verdicts[0].mode)}"
    names = fingerprints(findings.question.tokens)
    for name, verdict in zip(names, verdicts, strict=False):
        yield f"Token {name} ({findings.question.source}): {_verdict_text(verdict)}"
    if not names:
        yield f"No token: {_verdict_text(verdicts[0])}"
    yield f"Clock: {_skew_text(findings)}"


def _tls_text(presented: Presented) -> str:
    trust = f"NOT TRUSTED: {presented.distrust}" if presented.distrust else "OK"
    return f"{trust} ({presented.protocol}, {_expiry_text(presented.not_after)})"


def _expiry_text(end: datetime | None) -> str:
    if end is None:
        return "the end of its certificate cannot be read"
    days = (end - datetime.now(UTC)).total_seconds() / 86400
    when = end.strftime("%Y-%m-%d %H:%M UTC")
    if days < 0:
        return f"its certificate ended {-days:.0f} days ago, {when}"
    return f"its certificate is good for {days:.0f} days, until {when}"


def _verdict_text(verdict: Verdict) -> str:
    if verdict.is_accepted is None:
        return "let in, as everybody is"
    if verdict.mode == "enforced":
        return "accepted" if verdict.is_accepted else f"REFUSED: {verdict.reason}"
    return "will be accepted" if verdict.is_accepted else f"WILL BE REFUSED: {verdict.reason}"


def _skew_text(findings: Findings) -> str:
    skew = findings.skew
    if skew is None:
        if any(verdict.is_accepted for verdict in findings.verdicts):
            return "less than 30 s from the node's"
        return "not measured: the node does not say its time"
    side = "ahead of" if skew.seconds >= 0 else "behind"
    return f"{abs(skew.seconds):.3f} s {side} the node's (\u00b1{skew.error:.3f} s)"


def _as_json(findings: Findings) -> dict[str, object]:
    names = fingerprints(findings.question.tokens)
    verdicts, skew, presented = findings.verdicts, findings.skew, findings.presented
    end = presented.not_after if presented is not None else None
    return {
        "address": str(findings.address),
        "error": findings.error,
        "tls": presented
        and {
            "trusted": not presented.distrust,
            "reason": presented.distrust,
            "protocol": presented.protocol,
            "not_after": end.isoformat() if end is not None else None,
        },
        "authentication": verdicts[0].mode if verdicts else None,
        "source": findings.question.source,
        "tokens": [
            {"token": name, "accepted": verdict.is_accepted, "reason": verdict.reason}
            for name, verdict in zip(names or (None,), verdicts, strict=False)
        ],
        "clock_skew_seconds": skew and round(skew.seconds, 3),
        "clock_skew_error_seconds": skew and round(skew.error, 3),
        "exit_code": findings.exit_code,
    }
