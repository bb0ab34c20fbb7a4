"""What an upload-pack wants, and who may compute it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from gitaly.git import RepositoryPaths
from gitaly.limits import Turn
from gitaly.packcache.command import PackCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRequest:
    """What a reader wants."""

    repository: RepositoryPaths
    object_format: str
    command: PackCommand
    stdin: bytes
    remote_ip: str = ""
    has_username: bool = True


class Limiter(Protocol):
    """Who may compute packs. What is served from the cache is not asked about."""

    def slot(
        self, remote_ip: str, *, has_username: bool
    ) -> AbstractAsyncContextManager[Turn | None]:
        """A place for the length of the block; waits for it. Raises NodeError if there is none."""
        ...
