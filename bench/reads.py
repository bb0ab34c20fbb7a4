"""Reads: each beside one bare `git --version`, or beside git's own command where that is the work.

One caller over TCP; figure and limit are taken by turns, so that both meet the same machine. The
original's times are those of a machine on which the spawn took REFERENCE_SPAWN_MS; where git's own
command is the limit, its time depends on the history, and the original's says nothing.
"""

import math
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from google.protobuf.message import Message

from bench.calls import IN_FLIGHT, rate
from bench.peer import Caller, headers_of
from bench.processes import Measured, node
from bench.reads_repository import BRANCHES, TAGS, WIDE_ENTRIES, make_reads_repository
from bench.report import Row
from gitaly._pb import blob_pb2 as blob
from gitaly._pb import commit_pb2 as commit
from gitaly._pb import diff_pb2 as diff
from gitaly._pb import ref_pb2 as ref
from gitaly._pb import repository_pb2 as repo
from gitaly._pb.shared_pb2 import PaginationParameter, Repository

NAME = "reads-long.git"
ROUNDS = 11
SPAWNS_PER_ROUND = 8
ROUND_SECONDS = 0.1  # of calls, after the spawns
PAIRS = 15
DIFF_COMMITS = 70  # which change about 200 files
REFERENCE_SPAWN_MS = 1.1
CALLS_PER_SECOND = 2000


@dataclass(frozen=True, kw_only=True)
class Read:
    """One row: what is asked, what it may take, and what the original takes."""

    name: str
    service: str
    request: Message
    limit: float  # spawns; with `git`: times of that command
    reference_ms: float = 0.0  # what the original takes; 0 with `git`
    git: Sequence[str] = ()

    @property
    def path(self) -> str:
        method = type(self.request).__name__.removesuffix("Request")
        return f"/gitaly.{self.service}/{method}"


class Conversation:
    """One connection on which the same call is made again and again."""

    def __init__(self, port: int, read: Read) -> None:
        self._caller, self._headers = Caller(port), headers_of(read.path)
        self._message = read.request.SerializeToString()
        self._name = read.name

    def seconds(self) -> float:
        """Of one call."""
        start = time.perf_counter()
        answer = self._caller.call(self._headers, self._message)
        taken = time.perf_counter() - start
        if not answer:
            raise SystemExit(f"{self._name} failed")
        return taken

    def close(self) -> None:
        self._caller.close()


def run_seconds(command: Sequence[str]) -> float:
    """Of one process whose output is read."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - start


def measure(storage: Path) -> Iterator[Row]:
    """A row for each read, then how many a second, and all together beside the original's."""
    make_reads_repository(storage / NAME)
    reads = list(_reads(storage / NAME))
    beside_reference: dict[str, float] = {}
    with node(storage) as measured:
        for read in reads:
            row, spawn = _measure(measured, read)
            if read.reference_ms:
                reference = read.reference_ms / REFERENCE_SPAWN_MS
                beside_reference[read.name] = row.value / 1e3 / spawn / reference
            yield row
        for read in reads[:2]:
            found = rate(measured.port, read.path, read.request.SerializeToString())
            name = f"{read.name}, {IN_FLIGHT} callers"
            yield Row(name, found, "/s", None, CALLS_PER_SECOND, "", higher_is_better=True)
    mean = math.exp(sum(map(math.log, beside_reference.values())) / len(beside_reference))
    yield Row("geometric mean beside the original", mean, "x", None, 0.5, "")
    worst = max(beside_reference, key=beside_reference.__getitem__)
    yield Row(f"slowest so: {worst}", beside_reference[worst], "x", None, 1.0, "")


def _measure(node: Measured, read: Read) -> tuple[Row, float]:
    """The row, and the seconds of a spawn."""
    conversation = Conversation(node.port, read)
    ends = time.perf_counter() + 3 * ROUND_SECONDS
    while time.perf_counter() < ends:  # warm
        conversation.seconds()
    ours: list[float] = []
    spawns: list[float] = []
    used = node.cpu_seconds()
    for _ in range(ROUNDS):
        spawns += [run_seconds(["git", "--version"]) for _ in range(SPAWNS_PER_ROUND)]
        ends = time.perf_counter() + ROUND_SECONDS
        while time.perf_counter() < ends:
            ours.append(conversation.seconds())
    spawn, our = median(spawns), median(ours)
    cpu_ms = (node.cpu_seconds() - used) / len(ours) * 1e3
    if read.git:
        command = ["git", "-C", str(node.storage / NAME), *read.git]
        pairs = [(conversation.seconds(), run_seconds(command)) for _ in range(PAIRS)]
        our, base = (median(times) for times in zip(*pairs, strict=True))
        ratio = median(call / git for call, git in pairs)
        base_name = "git itself"
    else:
        base, base_name, ratio = spawn, "git --version", our / spawn
    row = Row(
        *(read.name, our * 1e3, "ms", base * 1e3, read.limit, base_name),
        ratio=ratio,
        cpu_ms=cpu_ms,
    )
    conversation.close()
    return row, spawn


def _reads(path: Path) -> Iterator[Read]:
    """All rows; the first two are also asked by many at once."""
    repository = Repository(storage_name="default", relative_path=NAME)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    yield from _small(repository)
    files = git("ls-tree", "-r", "--name-only", "main").split("\n")[:1000:50]
    recent = git("diff-tree", "-r", "--no-commit-id", "--name-only", "main~50").split("\n")[0]
    yield from _objects(repository, git("rev-parse", "wide:large.txt"), files)
    yield from _history(repository, recent.encode())
    yield from _references(repository)
    left, right, old = git("rev-parse", f"main~{DIFF_COMMITS}", "main", "main~40000").split("\n")
    yield from _as_git(repository, left, right, old)


def _small(repository: Repository) -> Iterator[Read]:
    head = b"refs/heads/main"
    for service, request, reference_ms in (
        ("CommitService", commit.FindCommitRequest(repository=repository, revision=head), 0.8),
        ("RefService", ref.RefExistsRequest(repository=repository, ref=head), 4.8),
        ("RefService", ref.FindDefaultBranchNameRequest(repository=repository), 6.4),
        ("RepositoryService", repo.HasLocalBranchesRequest(repository=repository), 5.2),
        ("RefService", ref.FindBranchRequest(repository=repository, name=b"main"), 4.9),
    ):
        yield Read(
            name=type(request).__name__.removesuffix("Request"),
            service=service,
            request=request,
            limit=0.6,
            reference_ms=reference_ms,
        )


def _objects(repository: Repository, large: str, files: Sequence[str]) -> Iterator[Read]:
    yield Read(
        name="TreeEntry of 30 KB",
        service="CommitService",
        request=commit.TreeEntryRequest(repository=repository, revision=b"wide", path=b"large.txt"),
        limit=1.0,
        reference_ms=5.1,
    )
    yield Read(
        name="GetBlob of 30 KB",
        service="BlobService",
        request=blob.GetBlobRequest(repository=repository, oid=large, limit=-1),
        limit=1.0,
        reference_ms=5.4,
    )
    yield Read(
        name=f"GetTreeEntries of {WIDE_ENTRIES}",
        service="CommitService",
        request=commit.GetTreeEntriesRequest(repository=repository, revision=b"wide", path=b"wide"),
        limit=4.0,
        reference_ms=11.8,
    )
    yield Read(
        name=f"GetBlobs of {len(files)} paths",
        service="BlobService",
        request=blob.GetBlobsRequest(
            repository=repository,
            revision_paths=[
                blob.GetBlobsRequest.RevisionPath(revision="main", path=name.encode())
                for name in files
            ],
            limit=-1,
        ),
        limit=3.0,
        reference_ms=10.6,
    )


def _history(repository: Repository, recent: bytes) -> Iterator[Read]:
    for name, request, reference_ms in (
        (
            "FindCommits of 20",
            commit.FindCommitsRequest(repository=repository, revision=b"main", limit=20),
            4.7,
        ),
        (
            "ListCommits of 20",
            commit.ListCommitsRequest(
                repository=repository,
                revisions=["main"],
                pagination_params=PaginationParameter(limit=20),
            ),
            9.2,
        ),
        (
            "LastCommitForPath, 50 commits ago",
            commit.LastCommitForPathRequest(repository=repository, revision=b"main", path=recent),
            4.1,
        ),
        (
            "CommitStats",
            commit.CommitStatsRequest(repository=repository, revision=b"main"),
            4.2,
        ),
    ):
        yield Read(
            name=name,
            service="CommitService",
            request=request,
            limit=3.0,
            reference_ms=reference_ms,
        )


def _references(repository: Repository) -> Iterator[Read]:
    for name, request, limit, reference_ms in (
        (
            f"ListRefs of {BRANCHES + TAGS + 1}",
            ref.ListRefsRequest(repository=repository, patterns=[b"refs/"]),
            12.0,
            16.5,
        ),
        (
            f"FindLocalBranches, 20 of {BRANCHES + 1}",
            ref.FindLocalBranchesRequest(
                repository=repository, pagination_params=PaginationParameter(limit=20)
            ),
            4.0,
            5.7,
        ),
        (
            f"FindLocalBranches, all {BRANCHES + 1}",
            ref.FindLocalBranchesRequest(repository=repository),
            4.0,
            5.7,
        ),
        (
            f"FindAllTags of {TAGS}",
            ref.FindAllTagsRequest(repository=repository),
            40.0,
            77.0,
        ),
    ):
        yield Read(
            name=name,
            service="RefService",
            request=request,
            limit=limit,
            reference_ms=reference_ms,
        )


def _as_git(repository: Repository, left: str, right: str, old: str) -> Iterator[Read]:
    yield Read(
        name=f"CommitDiff over {DIFF_COMMITS} commits",
        service="DiffService",
        request=diff.CommitDiffRequest(
            repository=repository, left_commit_id=left, right_commit_id=right
        ),
        limit=1.1,
        git=["diff-tree", "-r", "-p", "--raw", "--full-index", "--find-renames=30%", left, right],
    )
    yield Read(
        name=f"DiffStats over {DIFF_COMMITS} commits",
        service="DiffService",
        request=diff.DiffStatsRequest(
            repository=repository, left_commit_id=left, right_commit_id=right
        ),
        limit=1.1,
        git=["diff-tree", "-r", "-z", "--numstat", "--find-renames", left, right],
    )
    yield Read(
        name="CommitIsAncestor, 40,000 commits apart",
        service="CommitService",
        request=commit.CommitIsAncestorRequest(
            repository=repository, ancestor_id=old, child_id=right
        ),
        limit=1.1,
        git=["merge-base", "--is-ancestor", old, right],
    )
    yield Read(
        name="CountCommits with a path",
        service="CommitService",
        request=commit.CountCommitsRequest(
            repository=repository, revisions=[b"main"], max_count=400, path=b"src/00"
        ),
        limit=1.1,
        git=["rev-list", "--count", "--max-count=400", "main", "--", "src/00"],
    )
