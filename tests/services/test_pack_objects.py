"""Fetches from a node whose packs come from the cache: same answers, one git for many."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.hook_pb2 import (
    PackObjectsHookWithSidechannelRequest,
    PackObjectsHookWithSidechannelResponse,
)
from gitaly._pb.smarthttp_pb2 import PostUploadPackWithSidechannelRequest
from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.transport.pktline import FLUSH
from gitaly.transport.sideband import STDERR, STDOUT, SidebandDecoder
from tests.faults.conftest import tmp_path as tmp_path
from tests.services.node_under_test import A, Fetched, Node, a_node_with_a_repository
from tests.services.packets import index_pack, lines
from tests.transport.wires import until

CACHE = "[pack_objects_cache]\nenabled = true\nmin_occurrences = 0\n"
SSH, HTTP = "SSHUploadPackWithSidechannel", "PostUploadPackWithSidechannel"
HOOK = "PackObjectsHookWithSidechannel"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node_with_a_repository(tmp_path, CACHE) as node:
        yield node
        await node.idle()
        cache = node.served.directory / "storage/+gitaly/PackObjectsCache"
    assert not [path for path in cache.rglob("*") if path.is_file()]


def request(method: str, version: int) -> Any:
    kind = (
        SSHUploadPackWithSidechannelRequest
        if method == SSH
        else (PostUploadPackWithSidechannelRequest)
    )
    return kind(repository=A, git_protocol=f"version={version}" if version else "")


def wanted(node: Node, version: int, *more: str) -> bytes:
    if version == 0:
        return lines(f"want {node.commit} ofs-delta filter shallow", *more, "", "done")
    head = ("command=fetch", "agent=git/2.50", "object-format=sha1", "|")
    return lines(*head, "ofs-delta", f"want {node.commit}", *more, "done", "")


def pack_of(fetched: Fetched, method: str, version: int) -> bytes:
    """The pack in what upload-pack has said."""
    said = fetched.band(STDOUT) if method == SSH else fetched.output
    if version == 0:
        return said[said.index(b"PACK") :]
    start = said.index(b"packfile\n") + len(b"packfile\n")
    end = len(said) - len(FLUSH)
    decoder, bands = SidebandDecoder(), {STDOUT: b"", STDERR: b""}
    for band, piece in decoder.receive(memoryview(said)[start:end]):
        bands[band] += bytes(piece)
    decoder.at_end()
    return bands[STDOUT]


def finished(node: Node) -> list[dict[str, Any]]:
    return [x for x in node.served.lines() if x.get("grpc.method") == HOOK and "grpc.code" in x]


def lookups(node: Node, result: str) -> float | None:
    return node.metric("gitaly_pack_objects_cache_lookups_total", result=result)


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("method", [SSH, HTTP])
@pytest.mark.parametrize("more", [(), ("deepen 1",), ("filter blob:none",)])
async def test_the_second_fetch_gets_what_the_first_got(
    node: Node, tmp_path: Path, method: str, version: int, more: tuple[str, ...]
) -> None:
    said = wanted(node, version, *more)
    fetched = [await node.fetch(method, request(method, version), said) for _ in range(2)]
    for one in fetched:
        assert one.status == ("OK", "")
    first, second = (pack_of(one, method, version) for one in fetched)
    assert first == second
    if "filter blob:none" in more:
        assert int.from_bytes(first[8:12], "big") == 2  # without the blob
    else:
        assert index_pack(tmp_path, first) == 3
    await until(lambda: len(finished(node)) == 2)
    assert [line["pack_objects_cache.hit"] for line in finished(node)] == ["false", "true"]
    assert (lookups(node, "miss"), lookups(node, "hit")) == (1, 1)


async def test_both_transports_share_a_pack(node: Node) -> None:
    for method in (SSH, HTTP):
        await node.fetch(method, request(method, 2), wanted(node, 2))
    assert (lookups(node, "miss"), lookups(node, "hit")) == (1, 1)


async def test_many_at_once_share_one_git(node: Node) -> None:
    fetches = [node.fetch(SSH, request(SSH, 2), wanted(node, 2)) for _ in range(25)]
    fetched: list[Fetched] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch) for fetch in fetches]
    fetched = [task.result() for task in tasks]
    assert {one.status for one in fetched} == {("OK", "")}
    assert len({pack_of(one, SSH, 2) for one in fetched}) == 1
    assert (lookups(node, "miss"), lookups(node, "hit")) == (1, 24)


async def test_the_log_has_the_reference_s_fields(node: Node) -> None:
    await node.fetch(SSH, request(SSH, 2), wanted(node, 2))
    line = await node.finished(HOOK)
    assert line["grpc.service"] == "gitaly.HookService"
    assert line["grpc.code"] == "OK"
    assert line["grpc.request.repoPath"] == "a.git"
    assert line["grpc.meta.client_name"] == "gitaly-hooks"
    assert line["pack_objects_cache.hit"] == "false"
    assert len(line["pack_objects_cache.key"]) == 64
    assert line["pack_objects_cache.served_bytes"] == line["pack_objects_cache.generated_bytes"]
    assert line["command.count"] == 1
    assert line["pack_objects.compression_statistics"].startswith("Total 3 (delta 0)")
    assert line["pack_objects.written_object_count"] == 3
    assert line["pack_objects.write_pack_file_ms"] >= 0
    outer = await node.finished(SSH)
    assert line["correlation_id"] == outer["correlation_id"]
    [said] = node.lines("served bytes")
    assert said["cache_key"] == line["pack_objects_cache.key"]
    assert said["bytes"] == line["pack_objects_cache.served_bytes"]
    assert len(node.lines("generated bytes")) == 1


async def test_an_enabled_cache_is_seen_in_metrics(node: Node) -> None:
    directory = str(node.served.directory / "storage/+gitaly/PackObjectsCache")
    enabled = node.metric("gitaly_pack_objects_cache_enabled", dir=directory, max_age="300")
    assert enabled == 1


async def test_a_hook_program_that_is_killed_ends_its_fetch_only(node: Node) -> None:
    big = node.repository.parent / "big.git"
    shutil.copytree(node.repository, big)
    (node.work / "big").write_bytes(os.urandom(30_000_000))
    for arguments in (
        ("add", "big"),
        ("commit", "--quiet", "--message=big"),
        ("push", "--quiet", str(node.repository), "main"),
    ):
        await asyncio.to_thread(_git, str(node.work), *arguments)
    node.commit = node.git("rev-parse", "main")
    task = asyncio.create_task(node.fetch(SSH, request(SSH, 2), wanted(node, 2)))
    await until(lambda: _programs() != [])
    for pid in _programs():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    fetched = await task
    assert fetched.code == "INTERNAL"
    again = await node.fetch(SSH, request(SSH, 2), wanted(node, 2))
    assert again.status == ("OK", "")


def _git(directory: str, *arguments: str) -> str:
    from tests.faults.nodes import run_git

    return run_git("-C", directory, *arguments)


def _programs() -> list[int]:
    """Hook programs that run: interpreters in their isolated mode."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
                if b"-IS" in words and any(word.endswith(b"/gitaly-hooks") for word in words):
                    found.append(int(name))
    return found


async def test_errors_of_git_reach_the_client_and_the_log(node: Node, tmp_path: Path) -> None:
    blob = node.git("rev-parse", "main:file")
    path = node.repository / "objects" / blob[:2] / blob[2:]
    if not path.exists():
        for pack in (node.repository / "objects/pack").glob("*.pack"):
            content = pack.read_bytes()
            pack.unlink()
            pack.with_suffix(".idx").unlink()
            await asyncio.to_thread(_unpack, str(node.repository), content)
    os.rename(path, tmp_path / "away")
    fetched = await node.fetch(SSH, request(SSH, 2), wanted(node, 2))
    assert fetched.code == "INTERNAL"
    assert b"error executing git hook" in fetched.output
    [line] = finished(node)
    assert line["grpc.code"] == "Internal"
    assert line["error"].startswith('pack objects hook: git-pack-objects: stderr: "')
    assert line["error"].endswith("err: exit status 128")
    os.rename(tmp_path / "away", path)
    assert (await node.fetch(SSH, request(SSH, 2), wanted(node, 2))).status == ("OK", "")


def _unpack(repository: str, pack: bytes) -> None:
    import subprocess

    command = ["git", "-C", repository, "unpack-objects", "-q"]
    subprocess.run(command, input=pack, check=True)


# The reference's hook program


class Program:
    """Speaks as the reference's hook program does: a socket, and a call on the internal one."""

    def __init__(self, node: Node, directory: Path, name: str = "sidechannel") -> None:
        self.address = str(directory / name)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.address)
        self._listening.listen(1)
        self._listening.settimeout(20)
        [run] = (node.served.directory / "run").glob("gitaly-*")
        self._internal = f"unix:{run}/sock.d/intern"

    def ask(
        self, stdin: bytes, arguments: list[str], address: str | None = None
    ) -> tuple[str, str, dict[int, bytes]]:
        """Code, text, and what came in which band."""
        bands = {STDOUT: b"", STDERR: b""}
        with grpc.insecure_channel(self._internal) as channel, self._listening:
            ask: Any = channel.unary_unary(
                f"/gitaly.HookService/{HOOK}",
                request_serializer=PackObjectsHookWithSidechannelRequest.SerializeToString,
                response_deserializer=PackObjectsHookWithSidechannelResponse.FromString,
            )
            call = ask.future(
                PackObjectsHookWithSidechannelRequest(repository=A, args=arguments),
                metadata=[("gitaly-sidechannel-socket", address or self.address)],
                timeout=20,
            )
            if address is None:
                connected, _ = self._listening.accept()
                with connected:
                    connected.settimeout(20)
                    connected.sendall(stdin)
                    connected.shutdown(socket.SHUT_WR)
                    decoder = SidebandDecoder()
                    while data := connected.recv(65536):
                        for band, piece in decoder.receive(memoryview(data)):
                            bands[band] += bytes(piece)
                    decoder.at_end()
            return call.code().name, call.details() or "", bands


ASKED = ["pack-objects", "--revs", "--thin", "--stdout", "--progress", "--delta-base-offset"]


async def test_the_reference_s_program_gets_packs_too(node: Node, tmp_path: Path) -> None:
    said = f"{node.commit}\n--not\n\n".encode()
    answers = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        program = Program(node, tmp_path / str(number))
        answers.append(await asyncio.to_thread(program.ask, said, ASKED))
    for code, text, bands in answers:
        assert (code, text) == ("OK", "")
        assert index_pack(tmp_path, bands[STDOUT]) == 3
        assert b"Total 3 (delta 0)" in bands[STDERR]
    assert answers[0][2][STDOUT] == answers[1][2][STDOUT]
    assert (lookups(node, "miss"), lookups(node, "hit")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "address", "code", "text"),
    [
        (
            ["pack-objects", "--revs"],
            "/x/sidechannel",
            "INVALID_ARGUMENT",
            "invalid pack-objects command: [pack-objects --revs]: missing --stdout",
        ),
        (ASKED, "/x/other", "INVALID_ARGUMENT", 'invalid side channel address: "/x/other"'),
        (ASKED, "/x/sidechannel", "INTERNAL", "get side-channel: No such file or directory"),
    ],
)
async def test_a_wrong_program_is_refused(
    node: Node, tmp_path: Path, arguments: list[str], address: str, code: str, text: str
) -> None:
    program = Program(node, tmp_path)
    answer = await asyncio.to_thread(program.ask, b"", arguments, address)
    assert answer[:2] == (code, text)
