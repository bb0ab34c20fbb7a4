"""Numbers about history: how many commits, how they relate, what one of them changed."""

from collections.abc import Iterable

from gitaly._pb.commit_pb2 import (
    CommitIsAncestorRequest,
    CommitIsAncestorResponse,
    CommitStatsRequest,
    CommitStatsResponse,
    CountCommitsRequest,
    CountCommitsResponse,
    CountDivergingCommitsRequest,
    CountDivergingCommitsResponse,
)
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import (
    EMPTY_TREE,
    GitFailed,
    git_lines,
    parse_commit,
    rev_list,
)
from gitaly.rpc import Call
from gitaly.services.commit.reading import CommitReading
from gitaly.services.revisions import check_revision, check_revisions
from gitaly.services.times import as_rfc3339
from gitaly.services.tree_lookup import tree_of


class Counts(CommitReading):
    """Numbers."""

    async def CommitIsAncestor(
        self, request: CommitIsAncestorRequest, _: Call
    ) -> CommitIsAncestorResponse:
        repository = self._storages.existing(request.repository)
        if not request.ancestor_id:
            raise InvalidRequest("empty ancestor sha")
        if not request.child_id:
            raise InvalidRequest("empty child sha")
        done = await self._git.output(
            "merge-base",
            repository=repository,
            flags=["--is-ancestor"],
            args=[request.ancestor_id, request.child_id],
        )
        return CommitIsAncestorResponse(value=bool(done.exit))

    async def CountCommits(self, request: CountCommitsRequest, _: Call) -> CountCommitsResponse:
        repository = self._storages.existing(request.repository)
        flags = ["--count"]
        revisions = list(request.revisions)
        if revisions:
            check_revisions(revisions, may_be_pseudo=True)
        else:
            check_revision(request.revision, may_be_empty=True)
            if not request.revision and not request.all:
                raise InvalidRequest("empty Revision and false All")
            revisions = [b"--all" if request.all else request.revision]
        if request.HasField("before"):
            flags.append(f"--before={as_rfc3339(request.before)}")
        if request.HasField("after"):
            flags.append(f"--after={as_rfc3339(request.after)}")
        if request.max_count:
            flags.append(f"--max-count={request.max_count}")
        if request.first_parent:
            flags.append("--first-parent")
        walk = rev_list(
            self._git,
            repository,
            revisions,
            flags,
            paths=[request.path] if request.path else [],
            has_literal_paths=request.global_options.literal_pathspecs,
        )
        try:
            lines = [line async for batch in walk for line in batch]
        except GitFailed:  # of what does not exist there is nothing
            return CountCommitsResponse()
        return CountCommitsResponse(count=int(lines[0]))

    async def CountDivergingCommits(
        self, request: CountDivergingCommitsRequest, _: Call
    ) -> CountDivergingCommitsResponse:
        if not (request.to and getattr(request, "from")):
            raise InvalidRequest("from and to are both required")
        repository = self._storages.existing(request.repository)
        flags = ["--count", "--left-right"]
        if request.max_count:
            flags.append(f"--max-count={request.max_count}")
        with prefixed("git rev-list cmd"):
            done = await self._git.output(
                "rev-list",
                repository=repository,
                flags=flags,
                args=[getattr(request, "from") + b"..." + request.to],
            )
        if not done.exit:
            raise Internal(f"gi rev-list error: {done.exit}")  # clients know it in this spelling
        left, right = done.stdout.split()
        return CountDivergingCommitsResponse(left_count=int(left), right_count=int(right))

    async def CommitStats(self, request: CommitStatsRequest, _: Call) -> CommitStatsResponse:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision)
        commit = await self._objects.read(repository, request.revision + b"^{commit}")
        if commit is None:
            raise Internal("object not found")
        parents = parse_commit(commit.data).parent_ids
        old = EMPTY_TREE["sha1" if len(commit.object_id) == 40 else "sha256"].encode()
        if parents:
            old = await tree_of(self._objects, repository, parents[0])
        new = await tree_of(self._objects, repository, commit.object_id.encode())
        answer = CommitStatsResponse(oid=commit.object_id)
        async with self._attributes.options(repository) as options:
            lines = git_lines(
                self._git,
                "diff",
                repository,
                flags=["--numstat"],
                args=[old, new],
                paths=[],
                **options,
            )
            async for batch in lines:
                _add(answer, batch)
        return answer


def _add(answer: CommitStatsResponse, lines: Iterable[bytes]) -> None:
    """Count what `git diff --numstat` says; of binary files it says "-"."""
    for line in lines:
        added, removed, _ = line.split(b"\t", 2)
        answer.files += 1
        answer.additions += int(added) if added != b"-" else 0
        answer.deletions += int(removed) if removed != b"-" else 0
