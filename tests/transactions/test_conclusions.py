"""How a push ends in its transaction, over SSH and over HTTP."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import PostReceivePackRequest, PostReceivePackResponse
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest, SSHReceivePackResponse
from gitaly.transport.pktline import FLUSH, encode
from tests.e2e.pushes.pushers import make_history, make_target
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import Served, a_node
from tests.transactions.praefect import Link, Praefect, a_praefect, header
from tests.transport.wires import until

REPOSITORY = Repository(storage_name="default", relative_path="a.git", gl_repository="project-1")
SSH = "/gitaly.SSHService/SSHReceivePack"
HTTP = "/gitaly.SmartHTTPService/PostReceivePack"
HOOK = "/gitaly.HookService/ReferenceTransactionHook"
BOTH = pytest.mark.parametrize("path", [SSH, HTTP], ids=["ssh", "http"])
PHASES = ["SYNCHRONIZED"] * 2 + ["PREPARED", "COMMITTED", "SYNCHRONIZED", "COMMITTED"]
LAST = len(PHASES)


@dataclass
class Stage:
    served: Served
    praefect: Praefect
    link: Link
    work: Path
    commits: dict[str, str]

    def said(self, old: str, new: str) -> bytes:
        """What git sends to change main."""
        line = f"{self.commits[old]} {self.commits[new]} refs/heads/main\0report-status"
        pack = subprocess.run(
            ["git", "-C", self.work, "pack-objects", "--revs", "--stdout", "-q"],
            input=self.commits[new].encode(),
            check=True,
            capture_output=True,
        ).stdout
        return encode(line.encode()) + FLUSH + pack

    async def push(
        self, path: str, *, old: str = "base", new: str = "b1", is_voted_on: bool = True
    ) -> tuple[str, str, bytes]:
        """Code, message, and what receive-pack has said."""
        said = self.said(old, new)
        requests: list[Message]
        if path == SSH:
            first = SSHReceivePackRequest(repository=REPOSITORY, gl_id="user-1")
            requests = [first, SSHReceivePackRequest(stdin=said)]
            response: Any = SSHReceivePackResponse
        else:
            requests = [
                PostReceivePackRequest(repository=REPOSITORY, gl_id="user-1"),
                PostReceivePackRequest(data=said),
            ]
            response = PostReceivePackResponse
        start: Any = self.link.channel.stream_stream(  # untyped by its stubs
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        transaction = header(self.praefect.begin(["node-1"]), "node-1")
        metadata = transaction if is_voted_on else []

        def run() -> tuple[str, str, bytes]:
            call, heard = start(iter(requests), metadata=metadata, timeout=60), b""
            try:
                for message in call:
                    heard += message.stdout if path == SSH else message.data
            except grpc.RpcError:
                return call.code().name, call.details(), heard
            return "OK", "", heard

        return await asyncio.to_thread(run)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    commits = make_history(tmp_path / "work")
    make_target(tmp_path / "storage" / "a.git", tmp_path / "work")
    async with a_node(tmp_path) as served, a_praefect() as praefect:
        link = praefect.connect(served, "node-1")
        yield Stage(served, praefect, link, tmp_path / "work", commits)


@BOTH
async def test_a_push_ends_with_a_vote_of_its_own(stage: Stage, path: str) -> None:
    code, message, heard = await stage.push(path)
    assert (code, message) == ("OK", "")
    assert b"ok refs/heads/main" in heard
    assert [vote.phase for vote in stage.praefect.votes] == PHASES
    assert stage.praefect.votes[-1].digest == "0" * 40


@BOTH
async def test_a_push_whose_last_vote_is_aborted_has_happened_all_the_same(
    stage: Stage, path: str
) -> None:
    stage.praefect.script[LAST] = "ABORT"
    code, message, heard = await stage.push(path)
    assert code == "ABORTED"
    assert message == "The operation could not be completed. Please try again."
    assert b"ok refs/heads/main" in heard
    await until(lambda: bool(ended(stage, path)))
    [line] = ended(stage, path)
    text = "final transactional vote: transaction was aborted"
    assert line["error_metadata"] == {"error_details": text}


@BOTH
async def test_a_push_whose_last_vote_is_stopped_is_well(stage: Stage, path: str) -> None:
    stage.praefect.script[LAST] = "STOP"
    assert (await stage.push(path))[:2] == ("OK", "")


@BOTH
async def test_a_push_that_git_refuses_ends_with_the_same_vote(stage: Stage, path: str) -> None:
    code, _, heard = await stage.push(path, old="b1", new="b2")  # main is not at b1
    assert code == "OK"
    assert b"ng refs/heads/main" in heard
    assert [vote.phase for vote in stage.praefect.votes][-1:] == ["COMMITTED"]
    assert stage.praefect.votes[-1].digest == "0" * 40


@BOTH
async def test_a_push_that_git_cannot_understand_ends_without_it(stage: Stage, path: str) -> None:
    stage.commits["base"] = "nonsense"
    code, _, _ = await stage.push(path)
    assert code != "OK"
    assert stage.praefect.votes == []


@BOTH
async def test_without_a_transaction_git_starts_no_hook_for_it(stage: Stage, path: str) -> None:
    assert (await stage.push(path, is_voted_on=False))[:2] == ("OK", "")
    await until(lambda: bool(ended(stage, path)))
    assert ended(stage, HOOK) == []
    assert (await stage.push(path, old="b1", new="b2"))[:2] == ("OK", "")
    await until(lambda: len(ended(stage, HOOK)) >= len(("prepared", "committed")))


def ended(stage: Stage, path: str) -> list[dict[str, Any]]:
    return [x for x in stage.served.lines() if x.get("grpc.request.fullMethod") == path]
