"""Tokens of Go clients: which header lets a call in, and what the others are told."""

import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.nodes import Served, a_node
from tests.interop.conftest import Peer
from tests.interop.requests import ask_ssh

SECRET = b"a secret"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with a_node(tmp_path, extra='auth.token = "a secret"') as node:
        yield node


def token(age: int = 0, version: str = "v2", secret: bytes = SECRET) -> str:
    stamp = str(int(time.time()) - age)
    return f"{version}.{hmac.digest(secret, stamp.encode(), 'sha256').hex()}.{stamp}"


def headers(*values: str) -> list[str]:
    """Headers, in which names of tokens are replaced: tokens do not keep until a test runs."""
    tokens = {
        "good": token(),
        "ahead": token(age=-20),
        "version_1": token(version="v1"),
        "stranger": token(secret=b"another"),
        "expired": token(age=3600),
        "future": token(age=-3600),
    }
    full = [value.format_map(tokens) for value in values]
    return [word for value in full for word in ("-metadata", f"authorization={value}")]


@pytest.mark.parametrize(
    "values",
    [
        ("Bearer {good}",),
        ("bearer {good}",),
        ("BEARER {good}",),
        ("Bearer {ahead}",),
        ("Bearer {good}", "Bearer nonsense"),  # Praefect's own, then its client's
    ],
    ids=["as the reference", "lower case", "upper case", "a clock ahead", "first of two"],
)
@pytest.mark.parametrize("style", ["plain", "multiplexed"])
async def test_a_good_token_lets_a_call_in(
    peer: Peer, served: Served, values: tuple[str, ...], style: str
) -> None:
    flags = ["-plain"] if style == "plain" else []
    address = ["-address", served.address("tcp")]
    [report] = await peer(*address, *flags, *ask_ssh(), *headers(*values))
    # The sidechannel is missing: nobody says so who has not let the call in.
    assert report.code == "Internal"
    assert report.message.startswith("opennig sidechannel")


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ((), "Unauthenticated", "authentication required"),
        (("Bearer nonsense",), "Unauthenticated", "authentication required"),
        (("Basic {good}",), "Unauthenticated", "authentication required"),
        (
            ("Bearer {version_1}",),
            "PermissionDenied",
            "permission denied: invalid token version",
        ),
        (
            ("Bearer {stranger}",),
            "PermissionDenied",
            "permission denied: wrong hmac signature",
        ),
        (
            ("Bearer {expired}",),
            "PermissionDenied",
            "permission denied: token has expired",
        ),
        (
            ("Bearer {future}",),
            "PermissionDenied",
            "permission denied: token's validity window is in future",
        ),
        (
            ("Bearer {stranger}", "Bearer {good}"),
            "PermissionDenied",
            "permission denied: wrong hmac signature",
        ),
    ],
    ids=[
        "none",
        "nonsense",
        "another scheme",
        "version 1",
        "another secret",
        "expired",
        "of the future",
        "the first of two is bad",
    ],
)
async def test_another_header_does_not(
    peer: Peer, served: Served, values: tuple[str, ...], code: str, message: str
) -> None:
    address = ["-address", served.address("tcp")]
    [report] = await peer(*address, *ask_ssh(), *headers(*values))
    assert (report.code, report.message) == (code, message)


async def test_health_needs_no_token(peer: Peer, served: Served) -> None:
    [report] = await peer("-address", served.address("tls"))
    assert report.code == "OK"
