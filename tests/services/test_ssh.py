"""SSHService of a running node: fetches, archives and pushes."""

import io
import os
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly._pb.packfile_pb2 import PackfileNegotiationStatistics
from gitaly._pb.ssh_pb2 import (
    SSHReceivePackRequest,
    SSHUploadArchiveRequest,
    SSHUploadPackWithSidechannelRequest,
)
from gitaly.transport.channel import Channel
from gitaly.transport.sideband import STDERR, STDOUT
from tests.faults.conftest import tmp_path as tmp_path
from tests.services.node_under_test import (
    A,
    Answer,
    Fetched,
    Node,
    Push,
    a_node_with_a_repository,
)
from tests.services.packets import UNKNOWN, index_pack, lines, packets
from tests.transport.wires import until

FETCH, ARCHIVE, PUSH = "SSHUploadPackWithSidechannel", "SSHUploadArchive", "SSHReceivePack"
FEATURES = "gitaly_ssh_packfile_negotiation_requests_total"
HUNG_UP = b"fatal: the remote end hung up unexpectedly\n"
SHORT = '[timeout]\nupload_pack_negotiation = "300ms"\nupload_archive_negotiation = "300ms"'


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node_with_a_repository(tmp_path) as node:
        yield node
        await node.idle()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Node]:
    """A node that does not wait long for a client to say what it wants."""
    async with a_node_with_a_repository(tmp_path, SHORT) as node:
        yield node
        await node.idle()


def fetching(protocol: str = "") -> SSHUploadPackWithSidechannelRequest:
    return SSHUploadPackWithSidechannelRequest(repository=A, git_protocol=protocol)


async def only_listen(channel: Channel) -> None:
    while await channel.read():
        pass


# Fetches


async def test_a_clone_comes_in_the_first_band_and_without_a_flush(
    node: Node, tmp_path: Path
) -> None:
    said = lines(f"want {node.commit} no-progress agent=git/2.50", "", "done")
    fetched = await node.fetch(FETCH, fetching(), said)
    assert fetched.status == ("OK", "")
    assert fetched.band(STDERR) == b""
    head, _, pack = fetched.band(STDOUT).partition(b"0008NAK\n")
    assert packets(head)[1:] == [f"{node.commit} refs/heads/main\n".encode(), b""]
    assert index_pack(tmp_path, pack) == 3
    assert fetched.statistics == PackfileNegotiationStatistics(
        payload_size=5 + 40 + 27 + 4,
        packets=2,
        caps=["no-progress", "agent=git/2.50"],
        wants=1,
    )
    line = await node.finished(FETCH)
    assert (line["negotiation.user_agent"], line["negotiation.wants"]) == ("git/2.50", 1)
    [details] = node.lines("request details")
    assert details["response_bytes"] == len(fetched.band(STDOUT))
    assert node.metric(FEATURES, git_negotiation_feature="total") == 1


async def test_errors_come_in_the_second_band_and_quoted_in_the_status(node: Node) -> None:
    fetched = await node.fetch(FETCH, fetching(), lines(f"want {UNKNOWN}", "", "done"))
    stderr = f"fatal: git upload-pack: not our ref {UNKNOWN}"
    text = f'running upload-pack: cmd wait: exit status 128, stderr: "{stderr}\\n"'
    assert fetched.status == ("INTERNAL", text)
    assert fetched.band(STDERR) == f"{stderr}\n".encode()


async def test_a_client_that_wants_nothing_in_version_2_is_served(node: Node) -> None:
    fetched = await node.fetch(FETCH, fetching("version=2"), b"")
    assert fetched.status == ("OK", "")
    assert packets(fetched.band(STDOUT))[0] == b"version 2\n"
    assert fetched.statistics == PackfileNegotiationStatistics()


async def test_a_client_that_ends_in_the_middle_has_hung_up(node: Node) -> None:
    fetched = await node.fetch(FETCH, fetching(), lines(f"want {node.commit}"))
    text = "running upload-pack: user canceled the request"
    assert fetched.status == ("CANCELLED", text)
    assert fetched.band(STDERR) == HUNG_UP


async def test_what_was_counted_before_nonsense_is_told(node: Node) -> None:
    said = lines(f"want {node.commit}", f"shallow {UNKNOWN} x", "", "done")
    fetched = await node.fetch(FETCH, fetching(), said)
    assert fetched.status == ("OK", "")
    assert fetched.statistics is not None
    assert (fetched.statistics.wants, fetched.statistics.shallows) == (1, 0)
    assert node.metric(FEATURES, git_negotiation_feature="total") is None


async def test_a_client_that_breaks_off_leaves_no_git(node: Node) -> None:
    await node.fetch(FETCH, fetching(), None)
    assert (await node.finished(FETCH))["grpc.code"] == "Canceled"


async def test_a_git_that_is_killed_is_told(node: Node) -> None:
    async def kill(channel: Channel) -> None:
        await channel.read()
        [pid] = node.children()
        os.kill(pid, signal.SIGKILL)
        await only_listen(channel)

    fetched = await node.fetch_with(FETCH, fetching(), kill, Fetched())
    text = 'running upload-pack: cmd wait: signal: killed, stderr: ""'
    assert fetched.status == ("INTERNAL", text)


async def test_a_client_must_say_in_time_what_it_wants(hasty: Node) -> None:
    fetched = await hasty.fetch_with(FETCH, fetching(), only_listen, Fetched())
    text = "running upload-pack: waiting for negotiation: context canceled"
    assert fetched.status == ("DEADLINE_EXCEEDED", text)


async def test_a_client_that_reads_nothing_cannot_stop_the_clock(hasty: Node) -> None:
    hasty.add_many_references()

    async def read_nothing(_: Channel) -> None:
        await hasty.finished(FETCH)

    fetched = await hasty.fetch_with(FETCH, fetching(), read_nothing, Fetched())
    text = "running upload-pack: waiting for negotiation: context canceled"
    assert fetched.status == ("DEADLINE_EXCEEDED", text)


# Archives


async def archive(node: Node, *said: str) -> Answer:
    data = lines(*(f"argument {text}" for text in said), "")
    requests = (SSHUploadArchiveRequest(repository=A), SSHUploadArchiveRequest(stdin=data))
    return await node.ask(ARCHIVE, *requests)


async def test_an_archive_arrives(node: Node) -> None:
    answer = await archive(node, "--format=tar", "HEAD")
    assert answer.status == ("OK", "")
    assert answer.messages[-1].HasField("exit_status")
    assert answer.messages[-1].exit_status.value == 0
    said = packets(answer.joined("stdout"))
    assert said[:2] == [b"ACK\n", b""]
    tar = b"".join(packet[1:] for packet in said[2:] if packet[:1] == b"\1")
    with tarfile.open(fileobj=io.BytesIO(tar)) as archived:
        assert archived.getnames() == ["file"]


async def test_an_archive_of_nothing_fails_with_its_exit_status(node: Node) -> None:
    answer = await archive(node, "nothing")
    assert answer.code == "INTERNAL"
    assert answer.text.startswith("send: cmd wait: exit status 128, stderr: ")
    assert b"no such ref: nothing" in answer.joined("stdout")
    assert answer.messages[-1].exit_status.value == 128


async def test_an_archive_must_be_asked_for_in_time(hasty: Node) -> None:
    with hasty.stream(ARCHIVE) as stream:
        stream.say(SSHUploadArchiveRequest(repository=A))
        answer = await stream.rest()
    text = "running upload-archive: waiting for negotiation: context canceled"
    assert answer.status == ("DEADLINE_EXCEEDED", text)
    assert not [message for message in answer.messages if message.HasField("exit_status")]


async def test_a_client_that_asks_for_no_archive_is_told_what_git_makes_of_it(node: Node) -> None:
    answer = await node.ask(ARCHIVE, SSHUploadArchiveRequest(repository=A))
    stderr = "fatal: sent error to the client: git upload-archive: archiver died with error"
    text = f'send: cmd wait: exit status 128, stderr: "{stderr}\\n"'
    assert answer.status == ("INTERNAL", text)
    assert answer.messages[-1].exit_status.value == 128


# Pushes

USER = SSHReceivePackRequest(repository=A, gl_id="user-1")


async def push(node: Node, *pieces: bytes) -> Answer:
    return await node.ask(PUSH, USER, *(SSHReceivePackRequest(stdin=piece) for piece in pieces))


async def test_a_push_moves_a_reference_and_sends_no_exit_status(node: Node) -> None:
    pushed = Push(node)
    answer = await push(node, pushed.command, pushed.pack)
    assert answer.status == ("OK", "")
    said = packets(answer.joined("stdout"))
    assert said[0].startswith(f"{node.commit} refs/heads/main\0".encode())
    assert said[1:] == [b"", b"unpack ok\n", b"ok refs/heads/new\n", b""]
    assert not [message for message in answer.messages if message.HasField("exit_status")]
    assert node.git("rev-parse", "refs/heads/new") == pushed.new


async def test_a_git_that_fails_gives_its_exit_status_twice(node: Node) -> None:
    answer = await push(node, b"zzzz")
    assert answer.status == ("INTERNAL", "cmd wait: exit status 128")
    assert answer.messages[-1].exit_status.value == 128
    assert answer.joined("stderr").startswith(b"fatal: ")


async def test_a_git_that_fails_does_not_wait_for_the_client(node: Node) -> None:
    with node.stream(PUSH) as stream:
        stream.say(USER)
        stream.say(SSHReceivePackRequest(stdin=b"zzzz"))
        answer = await stream.rest()
    assert answer.status == ("INTERNAL", "cmd wait: exit status 128")


async def test_a_push_that_ends_before_its_commands_was_canceled(node: Node) -> None:
    answer = await push(node)
    assert answer.status == ("CANCELLED", "user canceled the push")
    assert answer.messages[-1].exit_status.value == 128
    assert answer.joined("stderr") == HUNG_UP


async def test_a_push_without_commands_is_nothing(node: Node) -> None:
    answer = await push(node, b"0000")
    assert answer.status == ("OK", "")


async def test_a_client_that_vanishes_in_the_middle_leaves_nothing(node: Node) -> None:
    pushed = Push(node)
    with node.stream(PUSH) as stream:
        stream.say(USER)
        stream.say(SSHReceivePackRequest(stdin=pushed.command + pushed.pack[:50]))
        await node.until_quarantined()
    assert (await node.finished(PUSH))["grpc.code"] == "Canceled"
    await node.idle()
    assert node.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


async def test_a_client_that_vanishes_without_reading_leaves_nothing(node: Node) -> None:
    node.add_many_references()
    with node.stream(PUSH) as stream:
        stream.say(USER)
        await until(lambda: node.children() != [])
        await stream.hear()
    assert (await node.finished(PUSH))["grpc.code"] == "Canceled"
