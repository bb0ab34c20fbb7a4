"""Clients in Go, on grpc-go and hashicorp/yamux, get from a node what the reference gives them."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from gitaly._pb.smarthttp_pb2 import PostUploadPackWithSidechannelResponse
from tests.faults.nodes import MIB, Served, a_node, make_repository, run_git
from tests.git.support import children_of
from tests.interop.conftest import Peer
from tests.interop.requests import (
    ask_http,
    ask_ssh,
    fetch_command,
    stateful_fetch,
)
from tests.transport.wires import until

SERVING = bytes.fromhex("0801")
KINDS = pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])


@KINDS
@pytest.mark.parametrize("style", ["plain", "multiplexed"])
async def test_health_is_answered(peer: Peer, tmp_path: Path, kind: str, style: str) -> None:
    async with a_node(tmp_path) as served:
        flags = ["-plain"] if style == "plain" else []
        [report] = await peer("-address", served.address(kind), *flags)
        assert (report.code, report.response) == ("OK", SERVING)
        await served.quiet()


@KINDS
@pytest.mark.parametrize("protocol", ["", "version=2"])
async def test_git_clones_over_ssh(peer: Peer, tmp_path: Path, kind: str, protocol: str) -> None:
    commit = make_repository(tmp_path, size=3 * MIB)
    async with a_node(tmp_path) as served:
        command = [peer.program, "-address", served.address(kind)]
        command += [*ask_ssh(protocol=protocol), "-sidechannel", "sideband"]
        environment = {"GIT_SSH_COMMAND": " ".join(command), "GIT_SSH_VARIANT": "simple"}
        clone = str(tmp_path / "clone")
        await asyncio.to_thread(
            run_git, "clone", "--quiet", "ssh://node/a.git", clone, environment=environment
        )
        assert run_git("-C", clone, "rev-parse", "HEAD") == commit
        assert run_git("-C", clone, "fsck", "--full", "--strict") == ""
        await served.quiet()


async def test_a_fetch_over_http_brings_a_pack(peer: Peer, tmp_path: Path) -> None:
    commit = make_repository(tmp_path, size=3 * MIB)
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), "-sidechannel", "raw", *ask_http()]
        [report], said = await peer.run(*flags, data=fetch_command(commit))
        assert (report.code, report.message, report.sidechannel) == ("OK", "", "")
        assert said.startswith(b"000dpackfile\n")
        assert report.bytes == len(said) > 3 * MIB
        answer = PostUploadPackWithSidechannelResponse.FromString(report.response)
        assert answer.packfile_negotiation_statistics.wants == 1


async def test_four_fetches_share_one_connection(peer: Peer, tmp_path: Path) -> None:
    commit = make_repository(tmp_path, size=3 * MIB)
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), "-sidechannel", "raw", *ask_http()]
        reports = await peer(*flags, "-calls", "4", "-input", fetch_command(commit).hex())
        assert [report.code for report in reports] == ["OK"] * 4
        assert [report.bytes > 3 * MIB for report in reports] == [True] * 4
        registry = served.node.registry
        assert registry.get_sample_value("gitaly_connections_total", {"type": "tcp"}) == 1


# Sidechannels that fail


@pytest.mark.parametrize(
    ("ask", "code", "message"),
    [
        (
            ask_ssh(),
            "Internal",
            "opennig sidechannel: sidechannel: receive confirmation: EOF",
        ),
        (
            ask_http(),
            "Unavailable",
            "open sidechannel: sidechannel: receive confirmation: EOF",
        ),
    ],
    ids=["ssh", "http"],
)
async def test_a_client_that_does_not_know_the_number_gets_an_error(
    peer: Peer, tmp_path: Path, ask: list[str], code: str, message: str
) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        extra = ["-metadata", "gitaly-sidechannel-id=99"]
        [report] = await peer("-address", served.address("tcp"), *ask, *extra)
        assert (report.code, report.message) == (code, message)
        await served.quiet()


async def test_a_client_that_never_agrees_gets_an_error_after_five_seconds(
    peer: Peer, tmp_path: Path
) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        [report] = await peer(
            *("-address", served.address("tcp"), "-sidechannel", "silent"), *ask_ssh()
        )
        assert (report.code, report.sidechannel) == ("Internal", "")
        assert report.message == (
            "opennig sidechannel: sidechannel: receive confirmation: i/o timeout"
        )
        assert 4.5 < report.seconds < 15


async def test_another_word_than_ok_is_an_error(peer: Peer, tmp_path: Path) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        [report] = await peer(
            *("-address", served.address("tcp"), "-sidechannel", "wrong"), *ask_http()
        )
        assert (report.code, report.message) == (
            "Internal",
            'open sidechannel: sidechannel: expected ok, got "no"',
        )


async def test_a_call_without_a_number_is_an_error(peer: Peer, tmp_path: Path) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        [report] = await peer("-address", served.address("tcp"), *ask_ssh())
        assert (report.code, report.message) == (
            "Internal",
            "opennig sidechannel: sidechannel: sidechannel-id not found in incoming metadata",
        )


async def test_a_plain_connection_has_no_sidechannels(peer: Peer, tmp_path: Path) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        extra = ["-metadata", "gitaly-sidechannel-id=0"]
        [report] = await peer("-address", served.address("tcp"), "-plain", *ask_ssh(), *extra)
        assert (report.code, report.message) == (
            "Internal",
            "opennig sidechannel: sidechannel: fail to extract yamux session:"
            " non-multiplexed connection",
        )


async def test_of_two_numbers_the_last_one_counts(peer: Peer, tmp_path: Path) -> None:
    commit = make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), "-sidechannel", "raw", *ask_http()]
        flags += ["-metadata", "gitaly-sidechannel-id=99", "-offer", "5", "-name", "5"]
        [report] = await peer(*flags, data=fetch_command(commit))
        assert (report.code, report.message) == ("OK", "")


async def test_an_error_of_the_call_ends_the_sidechannel_too(peer: Peer, tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), "-sidechannel", "sideband"]
        [report] = await peer(*flags, *ask_ssh(name="none.git"))
        assert (report.code, report.sidechannel) == ("NotFound", "")
        assert re.search("repository", report.message)


# Clients that do not read, or go away


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_a_client_that_does_not_read_stops_git_and_fills_no_memory(
    peer: Peer, tmp_path: Path
) -> None:
    commit = make_repository(tmp_path, size=48 * MIB)
    async with a_node(tmp_path) as served:
        before = _resident_bytes()
        asking = ["-input", stateful_fetch(commit).hex(), *ask_ssh(), "-sidechannel", "slow"]
        child = await peer.start("-address", served.address("tcp"), *asking)
        assert child.stdout is not None
        assert await child.stdout.readline() == b"waiting\n"
        await asyncio.sleep(1)
        [connection] = served.connections
        assert connection.wire.backlog < MIB
        assert _resident_bytes() - before < 24 * MIB
        assert await served.is_healthy()
        child.kill()
        await child.wait()
        await served.quiet()
        await until(lambda: children_of_git() == [])
        await until(lambda: codes_of_fetches(served) == ["Canceled"])


async def test_git_ends_when_the_client_goes_away_in_the_middle(peer: Peer, tmp_path: Path) -> None:
    commit = make_repository(tmp_path, size=24 * MIB)
    async with a_node(tmp_path) as served:
        asking = ["-input", stateful_fetch(commit).hex(), *ask_ssh(), "-sidechannel", "leave"]
        child = await peer.start("-address", served.address("tcp"), *asking)
        assert await child.wait() == 7
        await served.quiet()
        await until(lambda: children_of_git() == [])
        assert await served.is_healthy()


def codes_of_fetches(served: Served) -> list[str]:
    lines = [x for x in served.lines() if x.get("grpc.method", "").startswith("SSHUpload")]
    return [line["grpc.code"] for line in lines]


def children_of_git() -> list[str]:
    """Names of our children that are git's."""
    found = []
    for child in children_of(os.getpid()):
        try:
            name = Path(f"/proc/{child}/comm").read_text().strip()
        except OSError:
            continue
        if name == "git" or name.startswith("git-"):  # `gitaly` is a node of other tests
            found.append(name)
    return found
