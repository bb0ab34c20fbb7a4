"""Callers that go away, are slow, or want harm; diffs that are large."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.analysis_pb2 import CheckBlobsGeneratedRequest
from gitaly._pb.diff_pb2 import (
    CommitDeltaRequest,
    CommitDiffRequest,
    CommitDiffResponse,
    DiffBlobsRequest,
    DiffStatsRequest,
    FindChangedPathsRequest,
    GetPatchIDRequest,
    RangeDiffRequest,
    RawDiffRequest,
    RawPatchRequest,
    RawRangeDiffRequest,
)
from gitaly._pb.repository_pb2 import GetRawChangesRequest
from gitaly.errors import NodeError
from gitaly.git.spawner import Born, Launch, PosixSpawner
from gitaly.services.analysis import AnalysisServicer
from gitaly.services.diff import DiffServicer
from gitaly.services.repository import RawChangesServicer
from tests.git.support import newcomers, open_descriptors
from tests.services.diff.support import CALL, Asked, everything, stream_of
from tests.transport.wires import until

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
STREAMS = {
    "CommitDiff": CommitDiffRequest,
    "CommitDelta": CommitDeltaRequest,
    "DiffStats": DiffStatsRequest,
    "RawDiff": RawDiffRequest,
}
EXTRA_BYTES = 32 << 20
pytestmark = pytest.mark.parametrize("objects", ["in process"], indirect=True)


class CountingSpawner(PosixSpawner):
    """Knows what it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []

    async def spawn(self, launch: Launch) -> Born:
        self.started.append(str(launch.argv))
        return await super().spawn(launch)


@pytest.fixture
def spawner() -> CountingSpawner:
    return CountingSpawner()


def two(asked: Asked, left: str, right: str) -> dict[str, Any]:
    return {"repository": asked.message, "left_commit_id": left, "right_commit_id": right}


def closing(servicer: DiffServicer, method: str, request: Any) -> Any:
    """The responses, for an `async with`."""
    return aclosing(getattr(servicer, method)(request, CALL))


def peak_bytes() -> int:
    """The most that was resident since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def forget_peak() -> int:
    """Returns what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


@pytest.fixture
def much(asked: Asked) -> str:
    """A commit whose diff is larger than any pipe: in many files, of which the last is long."""
    files = {f"f{n:03}": f"{n}\n" * 20 for n in range(100)}
    return asked.commit(files | {"long": "0123456789\n" * 800_000})


@pytest.mark.parametrize("method", ["CommitDiff", "RawDiff"])
async def test_a_caller_that_goes_away_ends_git(
    servicer: DiffServicer, asked: Asked, much: str, method: str
) -> None:
    nothing = STREAMS["CommitDiff"](**two(asked, much, much))
    assert await everything(servicer.CommitDiff(nothing, CALL)) == []  # handles are open now
    before = open_descriptors()
    request = STREAMS[method](**two(asked, EMPTY_TREE, much))
    async with closing(servicer, method, request) as responses:
        assert await anext(responses)
        assert newcomers.left() != []
    assert newcomers.left() == []
    assert len(open_descriptors()) <= len(before)


@pytest.mark.parametrize("method", ["CommitDiff", "RawDiff"])
async def test_a_call_that_is_cancelled_ends_git(
    servicer: DiffServicer, asked: Asked, much: str, method: str
) -> None:
    request = STREAMS[method](**two(asked, EMPTY_TREE, much))
    task = asyncio.create_task(everything(getattr(servicer, method)(request, CALL)))
    await until(lambda: newcomers.left() != [])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert newcomers.left() == []


async def test_a_slow_caller_stops_git(servicer: DiffServicer, asked: Asked, much: str) -> None:
    request = CommitDiffRequest(**two(asked, EMPTY_TREE, much))
    async with closing(servicer, "CommitDiff", request) as responses:
        first = await anext(responses)
        await asyncio.sleep(0.5)
        assert newcomers.left() != []
        rest = await everything(responses)
    found = map(CommitDiffResponse.FromString, [*first, *rest])
    assert sum(response.end_of_patch for response in found) == 101


@pytest.mark.parametrize("limits", [{}, {"enforce_limits": True, "max_bytes": 10**9}])
async def test_a_huge_patch_is_not_held_in_memory(
    servicer: DiffServicer, asked: Asked, limits: dict[str, Any]
) -> None:
    huge = await asyncio.to_thread(asked.commit, {"a": b"0123456789abcde\n" * 2_500_000})
    request = CommitDiffRequest(**two(asked, EMPTY_TREE, huge), **limits)
    before, size = forget_peak(), 0
    async for encoded in servicer.CommitDiff(request, CALL):
        responses = map(CommitDiffResponse.FromString, encoded)
        size += sum(len(response.raw_patch_data) for response in responses)
    assert size > 40_000_000 or limits
    assert peak_bytes() - before < EXTRA_BYTES


async def test_files_of_a_large_diff_are_not_held_in_memory(
    servicer: DiffServicer, asked: Asked
) -> None:
    names = {f"{n % 200}-{'long' * 40}/{n:06}": str(n) for n in range(20_000)}
    right = await asyncio.to_thread(asked.commit, names)
    request = CommitDiffRequest(
        **two(asked, EMPTY_TREE, right), enforce_limits=True, collect_all_paths=True
    )
    before, count = forget_peak(), 0
    async for responses in servicer.CommitDiff(request, CALL):
        count += len(responses)
    assert count == 20_000
    assert peak_bytes() - before < EXTRA_BYTES


async def test_a_patch_on_disk_is_gone_after_the_call(servicer: DiffServicer, asked: Asked) -> None:
    huge = await asyncio.to_thread(asked.commit, {"a": "0123456789\n" * 1_500_000})
    before = open_descriptors()
    request = CommitDiffRequest(**two(asked, EMPTY_TREE, huge))
    async with closing(servicer, "CommitDiff", request) as responses:
        assert await anext(responses)
        assert len(open_descriptors()) > len(before)
    assert len(open_descriptors()) <= len(before)


HOSTILE = ["--upload-pack=touch /tmp/x", "-O/etc/passwd", "--output=/tmp/x", "a\0b", "--no-index"]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_hostile_revisions_start_no_git(
    servicer: DiffServicer,
    raw_changes: RawChangesServicer,
    analysis: AnalysisServicer,
    asked: Asked,
    spawner: CountingSpawner,
    hostile: str,
) -> None:
    good = asked.head({"a": "x"})
    repository, raw = asked.message, hostile.encode()
    pair = {"range1": hostile, "range2": "main"}
    calls: list[AsyncIterator[Any]] = [
        getattr(servicer, method)(request_class(**two(asked, hostile, good)), CALL)
        for method, request_class in (STREAMS | {"RawPatch": RawPatchRequest}).items()
    ]
    calls += [
        servicer.RangeDiff(RangeDiffRequest(repository=repository, range_pair=pair), CALL),
        servicer.RawRangeDiff(RawRangeDiffRequest(repository=repository, range_pair=pair), CALL),
        servicer.DiffBlobs(
            DiffBlobsRequest(
                repository=repository,
                blob_pairs=[DiffBlobsRequest.BlobPair(left_blob=raw, right_blob=b"main:a")],
            ),
            CALL,
        ),
        raw_changes.GetRawChanges(
            GetRawChangesRequest(repository=repository, from_revision=hostile, to_revision=good),
            CALL,
        ),
        analysis.CheckBlobsGenerated(
            stream_of(
                CheckBlobsGeneratedRequest(
                    repository=repository,
                    blobs=[CheckBlobsGeneratedRequest.Blob(revision=raw, path=b"a")],
                )
            ),
            CALL,
        ),
    ]
    for call in calls:
        with pytest.raises(NodeError):
            await everything(call)
    with pytest.raises(NodeError):
        await servicer.GetPatchID(
            GetPatchIDRequest(repository=repository, old_revision=raw, new_revision=b"main"), CALL
        )
    with pytest.raises(NodeError):
        await everything(
            servicer.FindChangedPaths(
                FindChangedPathsRequest(repository=repository, commits=[hostile]), CALL
            )
        )
    assert [x for x in spawner.started if hostile.split("=")[0] in x] == []
    assert [x for x in spawner.started if "'diff" in x or "format-patch" in x] == []
