"""The calls of RepositoryService that carry custom hooks."""

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb import repository_pb2
from gitaly._pb.shared_pb2 import Repository
from tests.hooks.custom.scripts import write_hook
from tests.hooks.custom.test_archives import GOOD
from tests.services.node_under_test import A, a_node_with_a_repository

SET, GET = "SetCustomHooks", "GetCustomHooks"


def request(method: str, **fields: Any) -> Any:
    return getattr(repository_pb2, f"{method}Request")(**fields)


@pytest.mark.parametrize(
    ("set_method", "get_method"), [(SET, GET), ("RestoreCustomHooks", "BackupCustomHooks")]
)
async def test_hooks_go_in_and_come_out(tmp_path: Path, set_method: str, get_method: str) -> None:
    async with a_node_with_a_repository(tmp_path) as node:
        empty = await node.ask(get_method, request(get_method, repository=A))
        answer = await node.ask(
            set_method,
            request(set_method, repository=A, data=GOOD[:700]),
            request(set_method, data=b""),
            request(set_method, data=GOOD[700:]),
        )
        found = await node.ask(get_method, request(get_method, repository=A))
    assert (empty.code, empty.messages) == ("OK", [])
    assert (answer.code, len(answer.messages)) == ("OK", 1)
    with tarfile.open(fileobj=io.BytesIO(found.joined("data"))) as archive:
        assert "custom_hooks/pre-receive" in archive.getnames()


async def test_requests_without_sense_are_refused(tmp_path: Path) -> None:
    async with a_node_with_a_repository(tmp_path) as node:
        nothing = await node.ask(SET)
        nowhere = await node.ask(SET, request(SET))
        unknown = Repository(storage_name="default", relative_path="b.git")
        missing = await node.ask(SET, request(SET, repository=unknown))
        broken = await node.ask(SET, request(SET, repository=A, data=GOOD[:600]))
        no_repository = await node.ask(GET, request(GET))
        assert not (node.repository / "custom_hooks").exists()
    assert nothing.status == ("INTERNAL", "getting first request: EOF")
    assert nowhere.status == ("INVALID_ARGUMENT", "repository not set")
    assert missing.status == ("NOT_FOUND", "repository not found")
    assert broken.status == (
        "INTERNAL",
        "setting custom hooks: extracting hooks: waiting for tar command completion: exit status 2",
    )
    assert no_repository.status == ("INVALID_ARGUMENT", "repository not set")


@pytest.mark.parametrize("said", [b"", GOOD[:1024]], ids=["nothing", "a part"])
async def test_a_client_that_vanishes_leaves_the_hooks_alone(tmp_path: Path, said: bytes) -> None:
    async with a_node_with_a_repository(tmp_path) as node:
        hook = write_hook(node.repository / "custom_hooks/update", "")
        with node.stream(SET) as stream:
            stream.say(request(SET, repository=A, data=said))
            await asyncio.sleep(0.2)  # so that the node has begun to listen
            stream._channel.close()  # without a word
        ended = await node.finished(SET)
        assert hook.exists()
    assert ended["grpc.code"] in ("Canceled", "Internal")
