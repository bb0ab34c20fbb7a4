"""What all parts of CommitService read with."""

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Final

from prometheus_client import CollectorRegistry, Histogram

from gitaly._pb.shared_pb2 import GitCommit
from gitaly.errors import Internal
from gitaly.git import (
    NO_SIGNING_KEYS,
    Git,
    Object,
    Objects,
    References,
    RepositoryPaths,
    SigningKeyFiles,
)
from gitaly.git.diffs import HeadAttributes
from gitaly.services.commit.language_counting import LanguageCounter
from gitaly.services.commits import Commits, git_commit
from gitaly.storage import Blocking, Storages

TOGETHER: Final = 64  # commits that are read at once and held in memory


class CommitReading:
    """The base of CommitService's parts."""

    def __init__(
        self,
        storages: Storages,
        git: Git,
        *,
        objects: Objects,
        references: References,
        attributes: HeadAttributes,
        blocking: Blocking,
        registry: CollectorRegistry,
        signing_keys: SigningKeyFiles = NO_SIGNING_KEYS,
    ) -> None:
        self._storages = storages
        self._git = git
        self._objects = objects
        self._references = references
        self._attributes = attributes
        self._languages = LanguageCounter(git, objects, blocking)
        self._commits = Commits(objects)
        self._blocking = blocking
        self._signing_keys = signing_keys
        self._request_sizes = Histogram(
            "gitaly_list_commits_by_oid_request_size",
            "Number of commits requested in a ListCommitsByOid request",
            buckets=(0.001, 1, 5, 10, 20),
            registry=registry,
        )

    async def _read(
        self, repository: RepositoryPaths, ids: AsyncIterable[list[bytes]]
    ) -> AsyncGenerator[list[GitCommit], None]:
        """The commits of object ids that a walk has found. Raises Internal if one has gone."""
        mailmap = await self._commits.mailmap(repository)
        async for batch in ids:
            for start in range(0, len(batch), TOGETHER):
                part = batch[start : start + TOGETHER]
                found = await self._commits.read_many(repository, part, mailmap)
                commits = [commit for commit in found if commit is not None]
                if len(commits) != len(part):
                    raise Internal("object not found")
                yield commits

    async def _told(
        self, repository: RepositoryPaths, commits: Sequence[Object]
    ) -> AsyncGenerator[list[GitCommit], None]:
        """Commits that have been read already."""
        mailmap = await self._commits.mailmap(repository)
        yield [git_commit(commit, mailmap) for commit in commits]

    async def _walked(
        self, repository: RepositoryPaths, walk: AsyncGenerator[list[bytes], None]
    ) -> AsyncGenerator[list[GitCommit], None]:
        """The commits that a walk finds; closing this stops the walk."""
        async with aclosing(walk), aclosing(self._read(repository, walk)) as batches:
            async for commits in batches:
                yield commits
