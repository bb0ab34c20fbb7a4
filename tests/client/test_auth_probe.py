"""A token is tried at nodes that say no more than Gitaly and Praefect do."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly.client import CallFailed
from gitaly.client.auth_probe import NOT_ENFORCED, Verdict, probe
from gitaly.client.certificates import end_of
from gitaly.client.connection import NodeConnection
from gitaly.client.sidechannels import Sidechannels
from gitaly.errors import NodeError, Unauthenticated
from gitaly.rpc.bearer import check_token
from tests.transport.wires import certificate


@dataclass
class Foreign(grpc.GenericRpcHandler):
    """A server with the rules of the reference, and its answers."""

    secret: bytes = b"secret"
    is_enforced: bool = True
    ahead: float = 0.0  # seconds of its clock
    error: grpc.StatusCode | None = None  # of calls that were let in
    calls: list[str] = field(default_factory=list)

    def service(self, details: Any) -> Any:
        header = dict(details.invocation_metadata).get("authorization", "")

        def answer(_: bytes, context: Any) -> bytes:
            self.calls.append(header)
            if self.is_enforced:
                self._check(header, context)
            if self.error is not None:
                context.abort(self.error, "of something else")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)

    def _check(self, header: str, context: Any) -> None:
        try:
            check_token(header, (self.secret,), time.time() + self.ahead)
        except Unauthenticated as error:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, error.message)
        except NodeError as error:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, error.message)


@contextmanager
def served(foreign: Foreign) -> Iterator[NodeConnection]:
    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool, [foreign])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield NodeConnection(channel, Sidechannels(), list)
        finally:
            server.stop(None).wait()


async def said_of(secret: bytes, foreign: Foreign) -> Verdict:
    with served(foreign) as node:
        return await probe(node, secret)


async def test_a_good_token_is_told_from_an_open_door_by_a_call_without_one() -> None:
    foreign = Foreign()
    verdict = await said_of(b"secret", foreign)
    assert verdict == Verdict(mode="enforced", is_accepted=True)
    assert len(foreign.calls) == 2
    assert foreign.calls[1] == ""


async def test_a_wrong_token_takes_one_call() -> None:
    foreign = Foreign()
    verdict = await said_of(b"wrong", foreign)
    assert verdict == Verdict(mode="enforced", is_accepted=False, reason="wrong hmac signature")
    assert len(foreign.calls) == 1


async def test_no_token_at_all() -> None:
    verdict = await said_of(b"", Foreign())
    assert verdict == Verdict(mode="enforced", is_accepted=False, reason="authentication required")


@pytest.mark.parametrize("secret", [b"secret", b"wrong", b""])
async def test_an_open_door_proves_nothing(secret: bytes) -> None:
    verdict = await said_of(secret, Foreign(is_enforced=False))
    assert verdict == Verdict(mode=NOT_ENFORCED, is_accepted=None)


async def test_an_error_of_something_else_means_that_we_were_let_in() -> None:
    verdict = await said_of(b"secret", Foreign(error=grpc.StatusCode.INTERNAL))
    assert verdict == Verdict(mode="enforced", is_accepted=True)


@pytest.mark.parametrize("ahead", [31.5, 59.0, 61.0, 3600.0, 1e8, -31.5, -60.5, -7200.0, -1e9])
async def test_a_clock_that_is_too_far_off_is_measured_by_trying(ahead: float) -> None:
    foreign = Foreign(ahead=ahead)
    verdict = await said_of(b"secret", foreign)
    assert (verdict.mode, verdict.is_accepted) == ("enforced", False)
    assert verdict.skew is not None
    assert abs(verdict.skew.seconds + ahead) <= verdict.skew.error <= 1.5
    assert len(foreign.calls) < 80


async def test_no_answer_is_an_error() -> None:
    with pytest.raises(CallFailed) as failed:
        await said_of(b"secret", Foreign(error=grpc.StatusCode.UNAVAILABLE))
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE


def test_the_end_of_a_certificate_is_read_without_trusting_it(tmp_path: Path) -> None:
    import ssl

    path, _ = certificate(tmp_path)
    expected: Any = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
    end = end_of(ssl.PEM_cert_to_DER_cert(path.read_text()))
    assert end == datetime.fromtimestamp(ssl.cert_time_to_seconds(expected["notAfter"]), UTC)


@pytest.mark.parametrize("der", [b"", b"0", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"x" * 100])
def test_what_is_no_certificate_has_no_end(der: bytes) -> None:
    assert end_of(der) is None


def test_no_certificate_that_was_cut_or_damaged_raises(tmp_path: Path) -> None:
    import ssl

    path, _ = certificate(tmp_path)
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    for place in range(min(len(der), 300)):
        end_of(der[:place])
        for byte in (0x00, 0x30, 0x84, 0xFF):
            end_of(der[:place] + bytes([byte]) + der[place + 1 :])
