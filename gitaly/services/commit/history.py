"""FindCommits, FindAllCommits, CommitsByMessage: `git log` in the words of three requests."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.commit_pb2 import (
    CommitsByMessageRequest,
    CommitsByMessageResponse,
    FindAllCommitsRequest,
    FindAllCommitsResponse,
    FindCommitsError,
    FindCommitsRequest,
    FindCommitsResponse,
)
from gitaly._pb.shared_pb2 import GitCommit
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound, prefixed
from gitaly.git import GitFailed, Object, RepositoryPaths, git_lines
from gitaly.git.diffs import AttributeOptions
from gitaly.git.rev_list import Flags
from gitaly.rpc import Call
from gitaly.services.commit.decoration import LogFormat, log_format
from gitaly.services.commit.reading import TOGETHER, CommitReading
from gitaly.services.messages import in_messages
from gitaly.services.revisions import check_revision
from gitaly.services.times import as_text_proto

_ALL_ORDERS: Final[Mapping[int, str]] = MappingProxyType(
    {FindAllCommitsRequest.TOPO: "--topo-order", FindAllCommitsRequest.DATE: "--date-order"}
)
LARGEST_COUNT: Final = 2**31 - 1  # that git understands
# Fields of requests that need no git, unless it has to walk far; `disable_walk` is ignored.
_PLAIN: Final = frozenset(
    {"repository", "revision", "limit", "offset", "global_options", "disable_walk"}
)
_SWITCHES: Final = (("skip_merges", "--no-merges"), ("first_parent", "--first-parent"))
_UNKNOWN_REVISION: Final = re.compile(
    rb"fatal: ambiguous argument '.*': unknown revision or path not in the working tree."
    rb"|fatal: bad object [0-9a-g]+"
    rb"|fatal: Invalid revision range [0-9a-g]+\.\.[0-9a-g]+"
    rb"|\Afatal: bad revision '.*'\n\Z",
    re.DOTALL,
)


class History(CommitReading):
    """Histories, filtered by git."""

    async def FindCommits(
        self, request: FindCommitsRequest, _: Call
    ) -> AsyncIterator[FindCommitsResponse]:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision, may_be_empty=True)
        revision = request.revision
        if not revision and not request.all:
            with prefixed("defaultBranchName"):
                revision = await self._references.default_branch(repository)
        if b"" in request.paths:
            raise InvalidRequest("path is empty string")
        newest = await self._few_found(repository, revision, request)
        if newest is not None:
            async with aclosing(self._told(repository, newest)) as told:
                async for commits in in_messages(told):
                    yield FindCommitsResponse(commits=commits)
            return
        async with aclosing(self._found_by_git(repository, revision, request)) as responses:
            async for response in responses:
                yield response

    async def _few_found(
        self, repository: RepositoryPaths, revision: bytes, request: FindCommitsRequest
    ) -> Sequence[Object] | None:
        """The commits, if no more is asked for than a few of the newest; None: git must walk."""
        is_plain = {field.name for field, _ in request.ListFields()} <= _PLAIN
        if not (is_plain and revision and request.limit > 0):
            return None
        to_skip = max(0, request.offset)
        found = await self._objects.newest_commits(repository, revision, request.limit + to_skip)
        return None if found is None else found[to_skip:]

    async def _found_by_git(
        self, repository: RepositoryPaths, revision: bytes, request: FindCommitsRequest
    ) -> AsyncGenerator[FindCommitsResponse, None]:
        form = log_format(request)
        to_skip = request.offset if request.follow and request.offset > 0 else 0
        async with AsyncExitStack() as stack:
            options: AttributeOptions = {}
            if request.include_shortstat:
                options = await stack.enter_async_context(self._attributes.options(repository))
            lines = git_lines(
                self._git,
                "log",
                repository,
                flags=[*form.flags, *find_commits_flags(request, to_skip)],
                args=[revision] if revision or not request.all else [],
                paths=request.paths,
                has_literal_paths=request.global_options.literal_pathspecs,
                **options,
            )
            await stack.enter_async_context(aclosing(lines))
            found = self._decorated(repository, lines, form, to_skip)
            await stack.enter_async_context(aclosing(found))
            try:
                async for commits in in_messages(found):
                    yield FindCommitsResponse(commits=commits)
            except GitFailed as error:
                raise _find_commits_error(error) from error

    async def FindAllCommits(
        self, request: FindAllCommitsRequest, _: Call
    ) -> AsyncIterator[FindAllCommitsResponse]:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision, may_be_empty=True)
        flags: list[str] = []
        if request.max_count > 0:
            flags.append(f"--max-count={request.max_count}")
        if request.skip > 0:
            flags.append(f"--skip={request.skip}")
        if request.order in _ALL_ORDERS:
            flags.append(_ALL_ORDERS[request.order])
        # As every branch, where there are some; as HEAD, where there are none.
        revisions = [request.revision] if request.revision else []
        if not revisions and await self._references.has_branches(repository):
            flags.append("--branches")
        async with aclosing(self._logged(repository, flags, revisions, [])) as found:
            async for commits in in_messages(found):
                yield FindAllCommitsResponse(commits=commits)

    async def CommitsByMessage(
        self, request: CommitsByMessageRequest, _: Call
    ) -> AsyncIterator[CommitsByMessageResponse]:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision, may_be_empty=True)
        if not request.query:
            raise InvalidRequest("empty Query")
        flags = [f"--grep={request.query}", "--regexp-ignore-case"]
        if request.offset > 0:
            flags.append(f"--skip={request.offset}")
        if request.limit > 0:
            flags.append(f"--max-count={request.limit}")
        revision = request.revision or await self._references.default_branch(repository)
        logged = self._logged(
            repository,
            flags,
            [revision],
            [request.path] if request.path else [],
            has_literal_paths=request.global_options.literal_pathspecs,
        )
        async with aclosing(logged) as found:
            async for commits in in_messages(found):
                yield CommitsByMessageResponse(commits=commits)

    async def _logged(
        self,
        repository: RepositoryPaths,
        flags: Flags,
        revisions: Sequence[bytes],
        paths: Sequence[bytes],
        *,
        has_literal_paths: bool = False,
    ) -> AsyncGenerator[list[GitCommit], None]:
        """The commits of a `git log`. That git fails is not an error here: what it found counts."""
        lines = git_lines(
            self._git,
            "log",
            repository,
            flags=["--format=%H", *flags],
            args=revisions,
            paths=paths,
            has_literal_paths=has_literal_paths,
        )
        async with aclosing(lines), aclosing(self._read(repository, lines)) as found:
            try:
                async for commits in found:
                    yield commits
            except GitFailed:
                return

    async def _decorated(
        self,
        repository: RepositoryPaths,
        lines: AsyncIterator[list[bytes]],
        form: LogFormat,
        to_skip: int,
    ) -> AsyncGenerator[list[GitCommit], None]:
        """The commits of a `git log` with what else it prints of them."""
        mailmap = await self._commits.mailmap(repository)
        async for records in form.records(lines):
            part = records[to_skip:]
            to_skip -= len(records) - len(part)
            for start in range(0, len(part), TOGETHER):
                some = part[start : start + TOGETHER]
                found = await self._commits.read_many(
                    repository, [record.object_id for record in some], mailmap
                )
                commits = []
                for commit, record in zip(found, some, strict=True):
                    if commit is None:
                        return  # it has gone; as Gitaly, end the list here
                    record.decorate(commit)
                    commits.append(commit)
                yield commits


def find_commits_flags(request: FindCommitsRequest, to_skip: int) -> Flags:
    """The options that choose commits; `to_skip` are left out afterwards, which git can't with
    --follow."""
    flags: list[str | bytes] = [f"--max-count={min(request.limit + to_skip, LARGEST_COUNT)}"]
    if request.offset > 0 and not to_skip:
        flags.append(f"--skip={request.offset}")
    if request.follow and request.paths:
        flags.append("--follow")
    if request.author:
        flags.append(b"--author=" + request.author)
    if request.HasField("before"):
        flags.append(f"--before={as_text_proto(request.before)}")
    if request.HasField("after"):
        flags.append(f"--after={as_text_proto(request.after)}")
    if request.message_regex:
        flags += [f"--grep={request.message_regex}", "--regexp-ignore-case"]
    if request.all:
        flags += ["--all", "--reverse"]
    flags += [flag for field, flag in _SWITCHES if getattr(request, field)]
    if request.order == FindCommitsRequest.TOPO:
        flags.append("--topo-order")
    return flags


def _find_commits_error(error: GitFailed) -> NodeError:
    if _UNKNOWN_REVISION.search(error.stderr) is None:
        return Internal("listing commits failed", stderr=error.metadata["stderr"])
    unknown = NotFound("commits not found", stderr=error.metadata["stderr"])
    unknown.details = (FindCommitsError(),)
    return unknown
