"""FindLocalBranches: its commits are told as for-each-ref tells them, which differs from elsewhere.

Source: Gitaly, internal/gitaly/service/ref/util.go.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gitaly._pb.ref_pb2 import FindLocalBranchesRequest
from gitaly._pb.shared_pb2 import NONE, CommitAuthor, GitCommit
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
from gitaly.services.ref.known_commits import KnownCommits
from gitaly.services.ref.list_refs import check_exclude
from gitaly.services.ref.reading import TOGETHER

NamedCommit = tuple[bytes, GitCommit]
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
        self, git: Git, objects: Objects, repository: RepositoryPaths, known: KnownCommits
    ) -> None:
        self._git = git
        self._objects = objects
        self._repository = repository
        self._known = None if has_own_parents(repository) else known

    async def read(
        self, batches: AsyncIterable[list[ListedReference]]
    ) -> AsyncGenerator[list[NamedCommit], None]:
        """Names of branches with their commits. Raises ListingFailed as for-each-ref would."""
        async for batch in batches:
            for start in range(0, len(batch), TOGETHER):
                yield await self._commits(batch[start : start + TOGETHER])
                await asyncio.sleep(0)  # reading in process never waits

    async def _commits(self, references: Sequence[ListedReference]) -> list[NamedCommit]:
        commits = await self._plain({one.target for one in references})
        odd = [one.name for one in references if one.target not in commits]
        by_name: Mapping[bytes, CommitFields] = {}
        if odd:
            try:
                by_name = await commit_fields_by_git(self._git, self._repository, odd)
            except GitFailed as error:
                raise ListingFailed(error.exit, error.stderr) from error
        found = []
        for name, target, _ in references:
            commit = commits.get(target)
            if commit is None and name in by_name:
                commit = _commit(by_name[name])
            if commit is not None:
                found.append((name, commit))
        return found

    async def _plain(self, targets: Collection[str]) -> Mapping[str, GitCommit]:
        """The commits for which git need not be asked, by id."""
        if self._known is None:
            return {}
        known = self._known.of(self._repository.path)
        commits = {target: known[target] for target in targets if target in known}
        new = [target.encode() for target in targets if target not in known]
        if new:
            objects = await self._objects.read_many(self._repository, new)
            read = [plain_fields(one.object_id, one.data) for one in objects if one is not None]
            built = {fields.object_id: _commit(fields) for fields in read if fields is not None}
            self._known.add(self._repository.path, built)
            commits |= built
        return commits


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
