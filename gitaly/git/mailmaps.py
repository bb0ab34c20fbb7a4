"""The mailmaps of repositories: `.mailmap` in the tree of HEAD, as git reads it in bare ones."""

from typing import Final

from cachetools import LRUCache

from gitaly.errors import Internal
from gitaly.git.mailmap import NO_MAILMAP, Mailmap
from gitaly.git.objects import Objects
from gitaly.git.paths import RepositoryPaths

KEPT_BYTES: Final = 8 << 20  # of the files; in memory they are about ten times as large
LARGEST_BYTES: Final = 4 << 20
_LEAST_BYTES: Final = 1024  # what one counts for


class Mailmaps:
    """Remembers the mailmap of each commit that was HEAD lately: 10 µs if it still is."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: LRUCache[str, Mailmap] = LRUCache(
            KEPT_BYTES, lambda mailmap: mailmap.size + _LEAST_BYTES
        )

    async def of(self, repository: RepositoryPaths) -> Mailmap:
        """The mailmap; an empty one where there is none, or none that can be read."""
        try:
            head = await self._objects.info(repository, b"HEAD")
        except Internal:
            return NO_MAILMAP
        if head is None:
            return NO_MAILMAP
        known = self._known.get(head.object_id)
        if known is None:
            known = self._known[head.object_id] = await self._read(repository, head.object_id)
        return known

    async def _read(self, repository: RepositoryPaths, head: str) -> Mailmap:
        info = await self._objects.info(repository, f"{head}:.mailmap".encode())
        if info is None or info.type != "blob" or info.size > LARGEST_BYTES:
            return NO_MAILMAP
        found = await self._objects.read(repository, info.object_id.encode())
        return NO_MAILMAP if found is None else Mailmap(found.data)
