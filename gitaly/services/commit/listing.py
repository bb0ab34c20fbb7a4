"""ListCommits and ListAllCommits: what the requests want, and their pages."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.commit_pb2 import (
    ListAllCommitsRequest,
    ListAllCommitsResponse,
    ListCommitsRequest,
    ListCommitsResponse,
)
from gitaly._pb.shared_pb2 import GitCommit, PaginationCursor
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import MOST_NEWEST, Object, RepositoryPaths, all_objects, rev_list
from gitaly.rpc import Call
from gitaly.services.commit.reading import CommitReading
from gitaly.services.messages import in_messages
from gitaly.services.pages import ObjectPage
from gitaly.services.revisions import check_revisions
from gitaly.services.times import as_go_prints

LARGEST_COUNT: Final = 2**31 - 1  # that git understands
# Fields of requests that need no git, unless it has to walk far.
_PLAIN: Final = frozenset({"repository", "revisions", "pagination_params", "global_options"})
_ORDERS: Final[Mapping[int, str]] = MappingProxyType(
    {ListCommitsRequest.TOPO: "--topo-order", ListCommitsRequest.DATE: "--date-order"}
)
_SWITCHES: Final = (
    ("reverse", "--reverse"),
    ("disable_walk", "--no-walk"),
    ("first_parent", "--first-parent"),
    ("ignore_case", "--regexp-ignore-case"),
)


class Listing(CommitReading):
    """Lists of commits, a page at a time."""

    async def ListCommits(
        self, request: ListCommitsRequest, _: Call
    ) -> AsyncIterator[ListCommitsResponse]:
        repository = self._storages.existing(request.repository)
        if not request.revisions:
            raise InvalidRequest("missing revisions")
        check_revisions([one.encode() for one in request.revisions], may_be_pseudo=True)
        page = ObjectPage(request.pagination_params)
        newest = await self._few_listed(repository, request, page)
        listed = (
            self._listed(repository, request, page)
            if newest is None
            else self._told(repository, newest)
        )
        waiting: list[GitCommit] = []  # the last message tells how it goes on
        with prefixed("iterating objects"):
            async with aclosing(listed):
                async for commits in in_messages(listed):
                    if waiting:
                        yield ListCommitsResponse(commits=waiting)
                    waiting = commits
        if waiting:
            last = PaginationCursor(next_cursor=waiting[-1].id) if page.has_more else None
            yield ListCommitsResponse(commits=waiting, pagination_cursor=last)

    async def _few_listed(
        self, repository: RepositoryPaths, request: ListCommitsRequest, page: ObjectPage
    ) -> Sequence[Object] | None:
        """The page, if it is one of a few of the newest commits; None: git must walk."""
        is_plain = {field.name for field, _ in request.ListFields()} <= _PLAIN
        if not is_plain or len(request.revisions) != 1 or page.limit >= MOST_NEWEST:
            return None
        count = MOST_NEWEST if page.after else page.limit + 1
        revision = request.revisions[0].encode()
        found = await self._objects.newest_commits(repository, revision, count)
        return None if found is None else page.of_newest(found, is_all=len(found) < count)

    async def _listed(
        self, repository: RepositoryPaths, request: ListCommitsRequest, page: ObjectPage
    ) -> AsyncGenerator[list[GitCommit], None]:
        walk = rev_list(
            self._git,
            repository,
            [revision.encode() for revision in request.revisions],
            _flags(request, page),
            paths=request.paths,
            has_literal_paths=request.global_options.literal_pathspecs,
        )
        async with aclosing(walk), aclosing(self._read(repository, page.of(walk))) as found:
            async for commits in found:
                yield commits

    async def ListAllCommits(
        self, request: ListAllCommitsRequest, _: Call
    ) -> AsyncIterator[ListAllCommitsResponse]:
        repository = self._storages.existing(request.repository)
        page = ObjectPage(request.pagination_params)

        async def ids() -> AsyncGenerator[list[bytes], None]:
            async with aclosing(all_objects(self._git, repository, ["commit"])) as batches:
                async for infos in batches:
                    yield [info.object_id.encode() for info in infos]

        with prefixed("iterating objects"):
            async with (
                aclosing(ids()) as all_ids,
                aclosing(self._read(repository, page.of(all_ids))) as found,
            ):
                async for commits in in_messages(found):
                    yield ListAllCommitsResponse(commits=commits)


def _flags(request: ListCommitsRequest, page: ObjectPage) -> list[str | bytes]:
    flags: list[str | bytes] = [flag for field, flag in _SWITCHES if getattr(request, field)]
    if request.order in _ORDERS:
        flags.append(_ORDERS[request.order])
    if page.limit < LARGEST_COUNT and not page.after and not request.reverse:
        flags.append(f"--max-count={page.limit + 1}")  # git need not look for more
    if request.max_parents:
        flags.append(f"--max-parents={request.max_parents}")
    if request.HasField("before"):
        flags.append(f"--before={as_go_prints(request.before)}")
    if request.HasField("after"):
        flags.append(f"--after={as_go_prints(request.after)}")
    if request.author:
        flags.append(b"--author=" + request.author)
    if request.skip:
        flags.append(f"--skip={request.skip}")
    flags += [b"--grep=" + pattern for pattern in request.commit_message_patterns]
    return flags
