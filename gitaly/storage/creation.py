"""Creating repositories: made and filled in a temporary directory, then renamed into place.

Source: Gitaly, internal/gitaly/repoutil/create.go, whose order of steps other nodes of a cluster
rely on.
"""

import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gitaly.errors import AlreadyExists, FailedPrecondition, Internal, prefixed
from gitaly.git import Git, go_quoted, reason
from gitaly.storage.blocking import Blocking
from gitaly.storage.counter import RepositoryCounter
from gitaly.storage.creation_vote import creation_digest
from gitaly.storage.failing import as_internal
from gitaly.storage.locks import RepositoryLock
from gitaly.storage.places import FULL_REPACK_TIMESTAMP
from gitaly.storage.repository import Repository
from gitaly.storage.syncing import sync_parents, sync_tree
from gitaly.storage.tempdirs import temporary
from gitaly.storage.votes import Phase, Vote, voting

Seed = Callable[[Repository], Awaitable[None]]  # fills the repository in its temporary place


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """How `git init` makes it."""

    branch: str = ""  # a name without "refs/heads/"; empty: main
    object_format: str = ""  # "sha1", "sha256"; empty: git's default


class Creator:
    """Creates repositories."""

    def __init__(self, git: Git, blocking: Blocking, counter: RepositoryCounter) -> None:
        self._git = git
        self._blocking = blocking
        self._counter = counter

    async def create(
        self,
        repository: Repository,
        *,
        initial: Initial | None,
        seed: Seed | None = None,
        vote: Vote | None = None,
    ) -> None:
        """Create it at its path, or leave nothing at all.

        `initial` None: the temporary directory does not exist when `seed` is called, so that git
        clone can make it. Errors of `seed` pass unchanged. After a failure of the last vote the
        repository stays.
        Raises AlreadyExists, FailedPrecondition for a failed vote, Internal.
        """
        _refuse_existing(repository.path, "pre-lock stat")
        async with temporary(self._blocking, repository.storage_path) as path:
            new = Repository(
                storage_name=repository.storage_name,
                storage_path=repository.storage_path,
                relative_path=path.removeprefix(repository.storage_path + "/"),
                path=path,
            )
            if initial is None:
                await self._blocking.run(os.rmdir, path)
            else:
                await self._init(new, initial)
            if seed is not None:
                await seed(new)
            digest = None if vote is None else await creation_digest(self._git, new)
            with as_internal("creating full-repack timestamp"):
                await self._blocking.run(touch_full_repack_timestamp, path)
            await self._publish(repository, new, vote, digest)

    async def _init(self, new: Repository, initial: Initial) -> None:
        flags: list[str | tuple[str, str]] = ["--bare", "--quiet"]
        if initial.branch:
            flags.append(("--initial-branch", initial.branch))
        if initial.object_format:
            flags.append(("--object-format", initial.object_format))
        done = await self._git.output("init", flags=flags, args=[new.path])
        if not done.exit:
            said = done.stderr.replace(os.fsencode(new.storage_path) + b"/", b"")
            raise Internal(f"creating repository: {done.exit}, stderr: {go_quoted(said)}")

    async def _publish(
        self, repository: Repository, new: Repository, vote: Vote | None, digest: bytes | None
    ) -> None:
        """Rename it into place, under the lock of its path."""
        with prefixed("locking repository"), as_internal("creating directories"):
            await self._blocking.run(os.makedirs, os.path.dirname(repository.path), exist_ok=True)
        lock = RepositoryLock(repository.path)
        try:
            with prefixed("locking repository"), as_internal("taking lock"):
                await self._blocking.run(lock.take)
            _refuse_existing(repository.path, "post-lock stat")
            if vote is not None and digest is not None:
                with voting(FailedPrecondition, "preparatory vote"):
                    await vote(Phase.PREPARING, digest)
                    await vote(Phase.PREPARED, digest)
            with as_internal("moving repository into place"):
                await self._blocking.run(_install, new.path, repository)
            self._counter.increment(repository)
            if vote is not None and digest is not None:
                with voting(FailedPrecondition, "committing vote"):
                    await vote(Phase.COMMITTED, digest)
        finally:
            lock.release()


def touch_full_repack_timestamp(path: str) -> None:
    """Note that a repository was fully repacked now: replaced as a whole. Raises OSError."""
    fd, temporary_path = tempfile.mkstemp(prefix=FULL_REPACK_TIMESTAMP + "-", dir=path)
    os.close(fd)
    os.replace(temporary_path, os.path.join(path, FULL_REPACK_TIMESTAMP))


def _install(new_path: str, repository: Repository) -> None:
    sync_tree(new_path)
    os.rename(new_path, repository.path)
    sync_parents(repository.path, repository.storage_path)


def _refuse_existing(path: str, what: str) -> None:
    try:
        os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Internal(f"{what}: {reason(error)}") from error
    raise AlreadyExists("repository exists already")
