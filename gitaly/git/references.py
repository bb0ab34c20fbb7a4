"""Reading references: one interface, whoever answers."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from gitaly.git.paths import RepositoryPaths

DEFAULT_BRANCHES: Final = (b"refs/heads/main", b"refs/heads/master")


class SortKey(Enum):
    """By what for-each-ref sorts."""

    REFNAME = "refname"
    CREATOR_DATE = "creatordate"
    AUTHOR_DATE = "authordate"
    COMMITTER_DATE = "committerdate"
    VERSION = "version:refname"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceQuery:
    """What to list."""

    patterns: Sequence[bytes]  # as for-each-ref takes them: globs, or whole leading components
    exclude: Sequence[bytes] = ()
    points_at: Sequence[bytes] = ()  # object ids
    sort_key: SortKey = SortKey.REFNAME
    descending: bool = False
    ignore_case: bool = False
    peel_tags: bool = False
    merged: bytes | None = None  # a revision: only what can be reached from it


class ListedReference(NamedTuple):
    """A reference and what it points to, symbolic ones resolved."""

    name: bytes
    target: str
    peeled_target: str = ""  # for annotated tags, if asked for: what lies under all tags


class References(Protocol):
    """Reads references of repositories.

    All calls raise GitFailed ("exit status 128") where git would fail.
    """

    async def exists(self, repository: RepositoryPaths, name: bytes) -> bool:
        """As `git show-ref --verify --quiet`: False for what is no name, or leads nowhere.

        Raises GitFailed for a reference to an object that is missing.
        """
        ...

    async def find(self, repository: RepositoryPaths, name: bytes) -> ListedReference | None:
        """The reference of this name; else the first that the name matches as a pattern.

        "refs/heads/a" may so lead to "refs/heads/a/b". Whether the object is there, is not asked.
        """
        ...

    async def head_target(self, repository: RepositoryPaths) -> bytes:
        """The name that HEAD holds, born or not. Raises GitFailed if HEAD is detached."""
        ...

    async def default_branch(self, repository: RepositoryPaths) -> bytes:
        """HEAD's target, else main, else master, else the first branch; empty: no branch.

        Raises GitFailed if HEAD is detached.
        """
        ...

    async def has_branches(self, repository: RepositoryPaths) -> bool:
        """Whether there is anything below `refs/heads/`."""
        ...

    def list(
        self, repository: RepositoryPaths, query: ReferenceQuery
    ) -> AsyncGenerator[list[ListedReference], None]:
        """All that match, in batches as git writes them; no more is read than is taken.

        Who leaves it early closes it (`contextlib.aclosing`), which stops git.

        Raises ListingFailed, InvalidArgument.
        """
        ...

    async def resolve_head(self, repository: RepositoryPaths) -> str | None:
        """The object id that HEAD leads to; None if it leads nowhere."""
        ...
