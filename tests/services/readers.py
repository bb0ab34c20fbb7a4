"""What servicers that read are made of, with each way to read, and what tests ask them with."""

import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from gitaly.git import (
    CatfilePool,
    Git,
    GitObjects,
    GitReferences,
    Handles,
    InProcessObjects,
    InProcessReferences,
    Objects,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    References,
    Spawner,
    find_git,
    keep_inherited_descriptors,
)
from gitaly.git.account import Account
from gitaly.rpc import Call, node_services
from tests.git.support import newcomers

T = TypeVar("T")
M = TypeVar("M", bound=Message)
GITS = [path for path in ("", os.environ.get("GIT_NEWEST")) if path is not None]
READERS = ["git", "in process"]


@asynccontextmanager
async def a_git(path: str, spawner: Spawner | None = None) -> AsyncIterator[Git]:
    """For the length of the block; afterwards none of its processes is left."""
    keep_inherited_descriptors()
    newcomers.start()
    metrics = PrometheusCommandMetrics(CollectorRegistry(), "")
    processes = Processes(spawner or PosixSpawner(), metrics, grace_seconds=0.2)
    yield Git(find_git(path, os.environ), processes, environment=os.environ, cpus=2)
    await processes.aclose()
    assert newcomers.left() == []


@asynccontextmanager
async def readers(git: Git, kind: str) -> AsyncIterator[tuple[Objects, References]]:
    """Objects and references as one of READERS reads them."""
    async with CatfilePool(git) as pool:
        if kind == "git":
            yield GitObjects(git, pool), GitReferences(git)
            return
        handles = Handles(git.formats)
        yield (
            InProcessObjects(handles, GitObjects(git, pool)),
            InProcessReferences(handles, GitReferences(git)),
        )
        handles.clear()


def a_call(*flags: str, value: str = "true") -> Call:
    """A call whose client has set these feature flags."""
    metadata = {f"gitaly-feature-{flag}": value for flag in flags}
    return Call(
        method=next(iter(node_services().values()))[0],
        metadata=metadata,
        all_metadata=tuple(metadata.items()),
        started=0.0,
        account=Account(),
    )


async def all_of(responses: AsyncIterable[T]) -> list[T]:
    """The messages of a stream."""
    return [response async for response in responses]


async def decoded(kind: type[M], responses: AsyncIterable[object]) -> list[M]:
    """The messages of a stream that may have several at hand at a time, or encoded ones."""
    found: list[Any] = []
    async for given in responses:
        found += given if isinstance(given, list) else [given]
    return [kind.FromString(one) if isinstance(one, bytes) else one for one in found]
