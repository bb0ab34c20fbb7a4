"""Removing repositories: renamed away at once, deleted afterwards.

Source: Gitaly, internal/gitaly/repoutil/remove.go.
"""

import os
from collections.abc import Callable

from gitaly.errors import FailedPrecondition, Internal, NotFound
from gitaly.git import reason
from gitaly.observe.log import Logger
from gitaly.storage.blocking import Blocking
from gitaly.storage.counter import RepositoryCounter
from gitaly.storage.failing import as_internal
from gitaly.storage.locks import AlreadyLocked, RepositoryLock
from gitaly.storage.repository import Repository
from gitaly.storage.syncing import sync
from gitaly.storage.tempdirs import Temporary
from gitaly.storage.votes import Phase, Vote, digest_of, voting


class Remover:
    """Removes repositories."""

    def __init__(
        self,
        blocking: Blocking,
        counter: RepositoryCounter,
        logger: Logger,
        forget: Callable[[str], None],
    ) -> None:
        """`forget`: told the path of what is gone, so that nobody keeps its files open."""
        self._blocking = blocking
        self._counter = counter
        self._logger = logger
        self._forget = forget

    async def remove(self, repository: Repository, *, vote: Vote | None = None) -> None:
        """Take it away as a whole; what it held is deleted before this returns.

        Raises NotFound, FailedPrecondition if somebody else holds its lock, Internal.
        """
        _require(repository.path, "repository does not exist")
        await _vote(vote, Phase.PREPARING, f"acquiring distributed lock {repository.relative_path}")
        lock = RepositoryLock(repository.path)
        base = os.path.basename(repository.path)
        away = Temporary(repository.storage_path, f"{base}+removed-")
        try:
            try:
                with as_internal("locking repository for removal"):
                    await self._blocking.run(lock.take)
            except AlreadyLocked as error:
                raise FailedPrecondition("repository is already locked") from error
            _require(repository.path, "repository was concurrently removed")
            await _vote(vote, Phase.PREPARED, f"pre-remove {repository.relative_path}")
            with as_internal("staging repository for removal"):
                await self._blocking.run(_move_away, repository.path, away)
            self._forget(repository.path)
            self._counter.decrement(repository)
            await _vote(vote, Phase.COMMITTED, f"post-remove {repository.relative_path}")
        finally:
            lock.release()
            await self._delete(away)

    async def _delete(self, away: Temporary) -> None:
        try:
            await self._blocking.run(away.remove)
        except OSError as error:
            self._logger.error(
                "failed removing repository from temporary directory", error=str(error)
            )


def _move_away(path: str, away: Temporary) -> None:
    away.make()
    os.rename(path, os.path.join(away.path, "repo"))
    sync(os.path.dirname(path))


def _require(path: str, otherwise: str) -> None:
    try:
        os.stat(path)
    except FileNotFoundError:
        raise NotFound(otherwise) from None
    except OSError as error:
        raise Internal(f"statting repository: {reason(error)}") from error


async def _vote(vote: Vote | None, phase: Phase, text: str) -> None:
    if vote is None:
        return
    what = "vote on finalizing" if phase is Phase.COMMITTED else "vote on rename"
    with voting(Internal, what):
        await vote(phase, digest_of(text.encode()))
