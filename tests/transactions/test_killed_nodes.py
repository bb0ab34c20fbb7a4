"""A node that is killed while it waits for the others: after its start, all or nothing is there."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gitaly._pb.repository_pb2 import CreateRepositoryResponse, RemoveRepositoryResponse
from tests.git.support import Bare
from tests.transactions.cluster import CREATE, PATH, REMOVE, creation, removal
from tests.transactions.praefect import HOLD, Praefect, a_praefect, header
from tests.transactions.reachable import Reachable


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Reachable]:
    node = Reachable(tmp_path)
    node.start()
    yield node
    node.stop()


@pytest.fixture
async def praefect() -> AsyncIterator[Praefect]:
    async with a_praefect() as praefect:
        yield praefect


async def create(praefect: Praefect, node: Reachable) -> tuple[str, str]:
    link, number = praefect.connect(node, "node-1"), praefect.begin(["node-1"])
    metadata = header(number, "node-1")
    return await link.call(CREATE, creation(), CreateRepositoryResponse, metadata)


async def remove(praefect: Praefect, node: Reachable) -> tuple[str, str]:
    link, number = praefect.connect(node, "node-1"), praefect.begin(["node-1"])
    metadata = header(number, "node-1")
    return await link.call(REMOVE, removal(), RemoveRepositoryResponse, metadata)


@pytest.mark.parametrize(
    ("number", "is_there"), [(1, False), (2, False), (3, True)], ids=["Pg", "Pd", "Co"]
)
async def test_a_node_killed_in_a_creation(
    node: Reachable, praefect: Praefect, number: int, is_there: bool
) -> None:
    praefect.script[number] = HOLD
    creating = asyncio.create_task(create(praefect, node))
    await praefect.until(number)
    await asyncio.to_thread(node.kill)
    assert (await creating)[0] == "UNAVAILABLE"

    await asyncio.to_thread(node.start)

    assert (node.storage / PATH / "HEAD").exists() is is_there
    if not is_there:
        assert await create(praefect, node) == ("OK", "")
    assert Bare(str(node.storage / PATH)).git("fsck") == ""
    assert await remove(praefect, node) == ("OK", "")
    assert not (node.storage / PATH).exists()


@pytest.mark.parametrize(
    ("number", "is_there"), [(1, True), (2, True), (3, False)], ids=["Pg", "Pd", "Co"]
)
async def test_a_node_killed_in_a_removal(
    node: Reachable, praefect: Praefect, number: int, is_there: bool
) -> None:
    assert await create(praefect, node) == ("OK", "")
    praefect.script[3 + number] = HOLD
    removing = asyncio.create_task(remove(praefect, node))
    await praefect.until(3 + number)
    await asyncio.to_thread(node.kill)
    assert (await removing)[0] == "UNAVAILABLE"

    await asyncio.to_thread(node.start)

    assert (node.storage / PATH / "HEAD").exists() is is_there
    if is_there:
        assert Bare(str(node.storage / PATH)).git("fsck") == ""
        assert await remove(praefect, node) == ("OK", "")
    assert await create(praefect, node) == ("OK", "")
