"""FindChangedPaths: what is asked of git, and what the answer says."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from gitaly._pb.diff_pb2 import ChangedPaths, FindChangedPathsRequest
from gitaly.errors import Internal, InvalidRequest, NotFound, prefixed
from gitaly.git import go_quoted
from gitaly.git.diffs import ChangedPath

Request = FindChangedPathsRequest.Request
Resolve = Callable[[str, str], Awaitable[str]]  # a revision and a type of object; an id

STATUSES: Final[Mapping[str, ChangedPaths.Status]] = MappingProxyType(
    {
        "A": ChangedPaths.ADDED,
        "C": ChangedPaths.COPIED,
        "D": ChangedPaths.DELETED,
        "M": ChangedPaths.MODIFIED,
        "R": ChangedPaths.RENAMED,
        "T": ChangedPaths.TYPE_CHANGE,
    }
)
_FILTERS: Final[Mapping[int, str]] = MappingProxyType(
    {
        FindChangedPathsRequest.DIFF_STATUS_ADDED: "A",
        FindChangedPathsRequest.DIFF_STATUS_MODIFIED: "M",
        FindChangedPathsRequest.DIFF_STATUS_DELETED: "D",
        FindChangedPathsRequest.DIFF_STATUS_TYPE_CHANGE: "T",
        FindChangedPathsRequest.DIFF_STATUS_COPIED: "C",
        FindChangedPathsRequest.DIFF_STATUS_RENAMED: "R",
    }
)
ALL_PARENTS: Final = FindChangedPathsRequest.MERGE_COMMIT_DIFF_MODE_ALL_PARENTS


class Question(NamedTuple):
    """For `git diff-tree --stdin`."""

    lines: list[str]
    flags: list[str]


async def question_of(request: FindChangedPathsRequest, resolve: Resolve) -> Question:
    """Raises InvalidRequest, NotFound, Internal."""
    if request.commits and request.requests:
        raise InvalidRequest("cannot specify both commits and requests")
    requests: Sequence[Request] = request.requests or [
        Request(commit_request=Request.CommitRequest(commit_revision=commit))
        for commit in request.commits
    ]
    lines = [await _line(one, resolve) for one in requests]
    if "" in lines:
        raise Internal("unknown FindChangedPathsRequest type")
    flags = [_filter(request.diff_filters)]
    if not all(one.WhichOneof("type") == "commit_request" for one in requests):
        flags.append("--no-commit-id")
    flags.append("--find-renames=30%" if request.find_renames else "--no-renames")
    flags.append("-c" if request.merge_commit_diff_mode == ALL_PARENTS else "-m")
    return Question(lines, flags)


def changed_paths_message(changed: ChangedPath) -> ChangedPaths:
    """One entry of the answer. The score is never said."""
    return ChangedPaths(
        path=changed.path,
        status=STATUSES[changed.status],
        old_mode=changed.old_mode,
        new_mode=changed.new_mode,
        old_blob_id=changed.old_id,
        new_blob_id=changed.new_id,
        old_path=changed.old_path,
        commit_id=changed.commit_id,
    )


async def _line(one: Request, resolve: Resolve) -> str:
    """Empty: it asks for nothing."""
    kind = one.WhichOneof("type")
    if kind == "tree_request":
        trees = one.tree_request
        with prefixed("resolving left tree"):
            left = await _resolved(trees.left_tree_revision, "tree", resolve)
        with prefixed("resolving right tree"):
            return f"{left} {await _resolved(trees.right_tree_revision, 'tree', resolve)}"
    if kind == "commit_request":
        commits = one.commit_request
        with prefixed("resolving commit"):
            commit = await _resolved(commits.commit_revision, "commit", resolve)
        with prefixed("resolving commit parent"):
            parents = [
                await _resolved(parent, "commit", resolve)
                for parent in commits.parent_commit_revisions
            ]
        return " ".join([commit, *parents])
    return ""


async def _resolved(revision: str, kind: str, resolve: Resolve) -> str:
    if not revision:
        raise InvalidRequest("revision cannot be empty")
    object_id = await resolve(revision, kind)
    if not object_id:
        raise NotFound(f"revision can not be found: {go_quoted(revision)}")
    return object_id


def _filter(statuses: Sequence[int]) -> str:
    letters = [_FILTERS.get(status, "") for status in statuses]
    if not all(letters):
        raise InvalidRequest("invalid diff filter requested")
    return "--diff-filter=" + ("".join(dict.fromkeys(letters)) or "AMDTCR")
