"""Reads whose answers never change, and what git says that they are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from gitaly._pb import blob_pb2 as blob
from gitaly._pb import commit_pb2 as commit
from gitaly._pb import diff_pb2 as diff
from gitaly._pb import ref_pb2 as ref
from gitaly._pb.shared_pb2 import PaginationParameter, Repository
from tests.e2e.clients import run_git

Messages = Sequence[Any]  # of the class that the call has


@dataclass(frozen=True)
class Question:
    """A call, what is looked at in its answer, and what that must be."""

    service: str
    request: Message
    seen: Callable[[Messages], object]
    expected: object

    @property
    def path(self) -> str:
        name = type(self.request).__name__.removesuffix("Request")
        return f"/gitaly.{self.service}/{name}"


class Git:
    """What git says of a repository."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, *arguments: str) -> str:
        return run_git(*arguments, cwd=self._path)

    def lines(self, *arguments: str) -> list[str]:
        return self(*arguments).splitlines()


def questions(path: Path, repository: Repository, branches: Sequence[str]) -> list[Question]:
    """About the history of `main` as it is now, and about branches and tags that stay."""
    git = Git(path)
    history = git.lines("rev-list", "main")
    found = list(_of_references(git, repository, branches))
    for object_id in history[:-1]:
        found += _of_commit(git, repository, object_id, history[-1])
        found += _of_trees(git, repository, object_id)
        found += _of_changes(git, repository, object_id)
    return found


def _of_references(git: Git, repository: Repository, branches: Sequence[str]) -> Iterator[Question]:
    yield Question(
        "RefService",
        ref.RefExistsRequest(repository=repository, ref=b"refs/heads/main"),
        lambda answers: [one.value for one in answers],
        [True],
    )
    yield Question(
        "RefService",
        ref.FindDefaultBranchNameRequest(repository=repository),
        lambda answers: [one.name for one in answers],
        [b"refs/heads/main"],
    )
    yield Question(
        "RefService",
        ref.ListRefsRequest(repository=repository, patterns=[b"refs/tags/"]),
        lambda answers: [
            f"{x.target} {x.name.decode()}" for one in answers for x in one.references
        ],
        git.lines("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"),
    )
    names = [f"refs/heads/{name}" for name in branches]
    yield Question(
        "RefService",
        ref.FindLocalBranchesRequest(repository=repository),
        lambda answers: [
            f"{x.target_commit.id} {x.name.decode()} {x.target_commit.subject.decode()}"
            for one in answers
            for x in one.local_branches
            if x.name.decode() in names
        ],
        git.lines("for-each-ref", "--format=%(objectname) %(refname) %(subject)", *names),
    )


def _of_commit(git: Git, repository: Repository, object_id: str, first: str) -> Iterator[Question]:
    revision = object_id.encode()
    yield Question(
        "CommitService",
        commit.FindCommitRequest(repository=repository, revision=revision),
        lambda answers: [
            f"{x.commit.id} {x.commit.tree_id} {x.commit.subject.decode()}" for x in answers
        ],
        [git("show", "--no-patch", "--format=%H %T %s", object_id)],
    )
    yield Question(
        "CommitService",
        commit.ListCommitsRequest(
            repository=repository,
            revisions=[object_id],
            pagination_params=PaginationParameter(limit=20),
        ),
        lambda answers: [x.id for one in answers for x in one.commits],
        git.lines("rev-list", "--max-count=20", object_id),
    )
    yield Question(
        "CommitService",
        commit.CountCommitsRequest(repository=repository, revisions=[revision]),
        lambda answers: [str(one.count) for one in answers],
        git.lines("rev-list", "--count", object_id),
    )
    yield Question(
        "CommitService",
        commit.CommitIsAncestorRequest(
            repository=repository, ancestor_id=first, child_id=object_id
        ),
        lambda answers: [one.value for one in answers],
        [True],
    )


def _of_trees(git: Git, repository: Repository, object_id: str) -> Iterator[Question]:
    revision = object_id.encode()
    entries = git.lines("ls-tree", "-r", "--format=%(objectname) %(path)", object_id)
    yield Question(
        "CommitService",
        commit.GetTreeEntriesRequest(
            repository=repository, revision=revision, path=b".", recursive=True
        ),
        lambda answers: sorted(
            f"{x.oid} {x.path.decode()}" for one in answers for x in one.entries if x.type == 0
        ),
        sorted(entries),
    )
    blob_id, _, name = entries[-1].partition(" ")
    content = git("cat-file", "blob", blob_id)
    yield Question(
        "CommitService",
        commit.TreeEntryRequest(repository=repository, revision=revision, path=name.encode()),
        lambda answers: b"".join(one.data for one in answers).decode().strip(),
        content,
    )
    yield Question(
        "BlobService",
        blob.GetBlobRequest(repository=repository, oid=blob_id, limit=-1),
        lambda answers: b"".join(one.data for one in answers).decode().strip(),
        content,
    )
    yield Question(
        "BlobService",
        blob.GetBlobsRequest(
            repository=repository,
            revision_paths=[
                blob.GetBlobsRequest.RevisionPath(
                    revision=object_id, path=entry.partition(" ")[2].encode()
                )
                for entry in entries[:20]
            ],
            limit=-1,
        ),
        lambda answers: [one.oid for one in answers if one.oid],
        [entry.partition(" ")[0] for entry in entries[:20]],
    )
    yield Question(
        "CommitService",
        commit.LastCommitForPathRequest(
            repository=repository, revision=revision, path=name.encode()
        ),
        lambda answers: [one.commit.id for one in answers],
        git.lines("rev-list", "--max-count=1", object_id, "--", name),
    )


def _of_changes(git: Git, repository: Repository, object_id: str) -> Iterator[Question]:
    (parent,) = git.lines("rev-parse", f"{object_id}^")
    yield Question(
        "DiffService",
        diff.CommitDiffRequest(
            repository=repository, left_commit_id=parent, right_commit_id=object_id
        ),
        lambda answers: (
            [f"{x.to_id}\t{x.to_path.decode()}" for x in answers if x.to_path],
            b"".join(one.raw_patch_data for one in answers).decode().strip(),
        ),
        (
            [_raw_entry(line) for line in git.lines("diff-tree", "-r", parent, object_id)],
            _hunks(git("diff-tree", "-r", "-p", parent, object_id)),
        ),
    )
    counted = [line.split("\t") for line in git.lines("diff-tree", "--numstat", parent, object_id)]
    yield Question(
        "DiffService",
        diff.DiffStatsRequest(
            repository=repository, left_commit_id=parent, right_commit_id=object_id
        ),
        lambda answers: [
            [str(x.additions), str(x.deletions), x.path.decode()]
            for one in answers
            for x in one.stats
        ],
        [line.split("\t") for line in git.lines("diff-tree", "-r", "--numstat", parent, object_id)],
    )
    yield Question(
        "CommitService",
        commit.CommitStatsRequest(repository=repository, revision=object_id.encode()),
        lambda answers: [(x.oid, x.additions, x.deletions, x.files) for x in answers],
        [
            (
                object_id,
                sum(int(added) for added, _, _ in counted),
                sum(int(removed) for _, removed, _ in counted),
                len(counted),
            )
        ],
    )


def _raw_entry(line: str) -> str:
    """`:old-mode new-mode old-id new-id status<TAB>path`."""
    head, _, name = line.partition("\t")
    return f"{head.split()[3]}\t{name}"


def _hunks(patch: str) -> str:
    """A patch without the lines that name its files."""
    heads = ("diff --git ", "index ", "--- ", "+++ ", "new file mode ", "deleted file mode ")
    return "\n".join(line for line in patch.splitlines() if not line.startswith(heads))
