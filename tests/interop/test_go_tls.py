"""Go's TLS, which is what GitLab's other programs have: it must be content with our chain."""

import asyncio
import io
from pathlib import Path

import pytest

from gitaly.config import load_text
from gitaly.node import running_node
from gitaly.observe.log import make_logger
from tests.e2e.authority import Authority, Pair
from tests.interop.conftest import Peer, Report


def configuration(directory: Path, pair: Pair) -> str:
    for name in ("storage", "run"):
        (directory / name).mkdir()
    return (
        f'tls_listen_addr = "127.0.0.1:0"\nruntime_dir = "{directory}/run"\n'
        f'[tls]\ncertificate_path = "{pair.certificate}"\nkey_path = "{pair.key}"\n'
        f'[[storage]]\nname = "default"\npath = "{directory}/storage"\n'
    )


async def asked(peer: Peer, directory: Path, pair: Pair, *flags: str) -> list[Report]:
    config = load_text(configuration(directory, pair))
    async with running_node(config, make_logger(io.BytesIO())) as node:
        return await peer("-address", f"tls:127.0.0.1:{node.port('tls')}", *flags)


@pytest.mark.parametrize("flags", [(), ("-plain",)], ids=["multiplexed", "plain"])
async def test_a_go_client_that_knows_the_root_alone_trusts_the_node(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path / "ca")
    pair = await asyncio.to_thread(authority.issue, "node")
    monkeypatch.setenv("PEER_VERIFIES", "yes")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    [report] = await asked(peer, tmp_path, pair, *flags)
    assert report.code == "OK"


async def test_a_go_client_that_knows_another_root_does_not(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await asyncio.to_thread(Authority(tmp_path / "ca").issue, "node")
    stranger = await asyncio.to_thread(Authority, tmp_path / "other")
    monkeypatch.setenv("PEER_VERIFIES", "yes")
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger.root))
    [report] = await asked(peer, tmp_path, pair, "-plain")
    assert report.code == "Unavailable"
    assert "x509: certificate signed by unknown authority" in report.message
