"""Reading objects: one interface, whoever answers."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple, Protocol

from gitaly.errors import Internal, InvalidRequest
from gitaly.git.paths import RepositoryPaths
from gitaly.git.quoting import go_quoted

MEMORY_BYTES: Final = 32 << 20  # of one object that is read as a whole
PIECE_BYTES: Final = 128 * 1024  # of one that is read in pieces
NO_LIMIT: Final = 2**63 - 1


class ObjectInfo(NamedTuple):
    """What is known of an object without its content."""

    object_id: str  # in lower case, of full length
    type: str  # "commit", "tree", "blob", "tag"
    size: int  # bytes of its content


class Object(NamedTuple):
    """An object as it is stored, without header. No mailmap has touched it."""

    object_id: str
    type: str
    data: bytes


class AmbiguousRevision(Internal):
    """An abbreviated object id that more than one object has."""

    def __init__(self, revision: bytes) -> None:
        super().__init__(f"invalid info line: {go_quoted(revision + b' ambiguous')}")


class ObjectTooLarge(Internal):
    """A commit, tree or tag that nobody wants to hold in memory."""

    def __init__(self, info: ObjectInfo) -> None:
        super().__init__(
            f"{info.type} {info.object_id} of {info.size} bytes is larger than the {MEMORY_BYTES}"
            " that are read into memory"
        )


class LastCommit(NamedTuple):
    """What a short walk for the last commit of a path has found."""

    commit: str | None  # None: none yet, or there is none
    rest: str | None  # from where git has to go on; None: that is all


class Objects(Protocol):
    """Reads objects of repositories.

    `revision` is whatever git-rev-parse(1) understands: an object id (whole or abbreviated), the
    name of a reference, `HEAD~2`, `v1.0^{commit}`, `main:dir/file`. What leads to no object that
    is there is no error, but None. It has been checked (`gitaly.services.revisions`) or begins
    with something that is no option; nothing that git could take for one reaches it.

    All calls raise InvalidRequest for a NUL, AmbiguousRevision, and Internal if git fails.
    """

    async def info(self, repository: RepositoryPaths, revision: bytes) -> ObjectInfo | None:
        """What the revision leads to; None: nothing that exists."""
        ...

    async def infos(
        self, repository: RepositoryPaths, revisions: Sequence[bytes]
    ) -> list[ObjectInfo | None]:
        """`info` of each, in order. Much cheaper than one by one where git answers."""
        ...

    async def read(self, repository: RepositoryPaths, revision: bytes) -> Object | None:
        """The object with its whole content. Not for blobs of unknown size.

        Raises ObjectTooLarge.
        """
        ...

    async def read_many(
        self, repository: RepositoryPaths, revisions: Sequence[bytes]
    ) -> list[Object | None]:
        """`read` of each, in order; all of them are held in memory: a hundred at a time."""
        ...

    def pieces(
        self, repository: RepositoryPaths, info: ObjectInfo, limit: int = NO_LIMIT
    ) -> AsyncGenerator[bytes, None]:
        """The first `limit` bytes of the content, in pieces of at most 128 KiB.

        No more is read than is taken. Who leaves it early closes it (`contextlib.aclosing`).
        Raises Internal if the object has gone since `info` found it.
        """
        ...

    async def newest_commits(
        self, repository: RepositoryPaths, revision: bytes, count: int
    ) -> list[Object] | None:
        """The first `count` commits of `git log <revision>`, fewer if the history ends before.

        None: that takes a walk of git's. Only for a few commits is it anything else.
        """
        ...

    async def last_commit(
        self, repository: RepositoryPaths, revision: bytes, path: bytes
    ) -> LastCommit | None:
        """What a short walk finds of `git log -1 <revision> -- <path>`.

        None: git has to walk from the beginning. Only for what has changed lately, and a path
        that is no pattern, is it anything else.
        """
        ...

    async def resolve(self, repository: RepositoryPaths, revision: bytes) -> str | None:
        """The object id, as `git rev-parse --verify` tells it; None: it fails.

        Unlike `info` it does not ask whether the object is there: an object id of full length
        leads to itself, a submodule's path to the commit of another repository.
        """
        ...


def checked_revision(revision: bytes) -> bytes:
    """Raises InvalidRequest for a NUL, which would end the question to git early."""
    if b"\0" in revision:
        raise InvalidRequest("revision must not contain NUL bytes")
    return revision
