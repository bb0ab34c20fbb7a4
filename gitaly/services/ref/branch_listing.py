"""FindLocalBranches: its commits are told as for-each-ref tells them, which differs from elsewhere.

Source: Gitaly, internal/gitaly/service/ref/util.go.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gitaly._pb.ref_pb2 import FindLocalBranchesRequest, FindLocalBranchesResponse
from gitaly._pb.shared_pb2 import NONE, Branch, CommitAuthor, GitCommit
from gitaly.errors import Internal
from gitaly.git import (
    CommitFields,
    Git,
    GitFailed,
    ListedReference,
    ListingFailed,
    Objects,
    Person,
    ReferenceQuery,
    RepositoryPaths,
    SortKey,
    commit_fields_by_git,
    has_own_parents,
    parse_seconds,
    plain_fields,
)
from gitaly.services.commits import KEPT_BYTES, signature_type
from gitaly.services.encoding import field
from gitaly.services.ref.known_messages import KnownMessages, Parts, known_or_built
from gitaly.services.ref.list_refs import check_exclude

LOCAL_BRANCHES: Final = FindLocalBranchesResponse.LOCAL_BRANCHES_FIELD_NUMBER
_SORTS: Final[Mapping[int, tuple[SortKey, bool]]] = MappingProxyType(
    {
        FindLocalBranchesRequest.NAME: (SortKey.REFNAME, False),
        FindLocalBranchesRequest.UPDATED_ASC: (SortKey.COMMITTER_DATE, False),
        FindLocalBranchesRequest.UPDATED_DESC: (SortKey.COMMITTER_DATE, True),
    }
)


def local_branches_query(request: FindLocalBranchesRequest) -> ReferenceQuery:
    """Raises InvalidRequest for patterns, Internal for an order that nobody knows."""
    for pattern in request.exclude_patterns:
        check_exclude(pattern, b"refs/heads/")
    if request.sort_by not in _SORTS:
        raise Internal(f"unknown order {request.sort_by}")
    key, is_descending = _SORTS[request.sort_by]
    return ReferenceQuery(
        patterns=[b"refs/heads"],
        exclude=request.exclude_patterns,
        sort_key=key,
        descending=is_descending,
    )


class BranchReader:
    """Reads the commits of branches in process where they are plain, else by git."""

    def __init__(
        self, git: Git, objects: Objects, repository: RepositoryPaths, known: KnownMessages
    ) -> None:
        self._git = git
        self._objects = objects
        self._repository = repository
        self._is_plain = not has_own_parents(repository)
        self._known = known
        self._key = (repository.path, "local branches")

    async def read(
        self, batches: AsyncIterable[list[ListedReference]]
    ) -> AsyncGenerator[list[bytes], None]:
        """Fields of the response, one for each branch. Raises ListingFailed as for-each-ref would.

        A branch that goes meanwhile may be left out.
        """
        async for batch in batches:
            known = self._known.of(self._key) if self._is_plain else {}
            yield await known_or_built(known, batch, self._built)
            await asyncio.sleep(0)  # reading in process never waits

    async def _built(self, references: Sequence[ListedReference]) -> Parts:
        plain = await self._plain(references) if self._is_plain else {}
        odd = [one for one in references if one not in plain]
        if not odd:
            return plain
        try:
            by_name = await commit_fields_by_git(
                self._git, self._repository, [one.name for one in odd]
            )
        except GitFailed as error:
            raise ListingFailed(error.exit, error.stderr) from error
        return plain | {
            one: _branch(one.name, by_name[one.name]) for one in odd if one.name in by_name
        }

    async def _plain(self, references: Sequence[ListedReference]) -> dict[ListedReference, bytes]:
        """The branches whose commits git need not be asked for."""
        targets = [one.target.encode() for one in references]
        objects = await self._objects.read_many(self._repository, targets)
        built = {}
        for reference, commit in zip(references, objects, strict=True):
            fields = plain_fields(commit.object_id, commit.data) if commit is not None else None
            if fields is not None:
                built[reference] = _branch(reference.name, fields)
        self._known.add(self._key, built)
        return built


def _branch(name: bytes, fields: CommitFields) -> bytes:
    branch = Branch(name=name, target_commit=_commit(fields))
    return field(LOCAL_BRANCHES, branch.SerializeToString())


def _commit(fields: CommitFields) -> GitCommit:
    body = fields.contents[:KEPT_BYTES]
    commit = GitCommit(
        id=fields.object_id,
        subject=fields.subject,
        body=body,
        body_size=len(body),
        parent_ids=fields.parent_ids,
        tree_id=fields.tree_id,
        # All of it is compared, so only one that breaks off after its first line has a type.
        signature_type=NONE if b"\n" in fields.signature else signature_type(fields.signature),
    )
    _fill(commit.author, fields.author)
    _fill(commit.committer, fields.committer)
    return commit


def _fill(author: CommitAuthor, person: Person) -> None:
    author.SetInParent()
    author.name = person.name
    author.email = person.email
    author.timezone = person.timezone
    author.date.seconds = parse_seconds(person.seconds)
