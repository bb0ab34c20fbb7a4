"""What all parts of BlobService read with."""

from collections.abc import Mapping, Sequence
from typing import Final

from gitaly.errors import Internal
from gitaly.git import Git, ObjectInfo, Objects, RepositoryPaths
from gitaly.storage import Storages

SMALL_BYTES: Final = 32 * 1024  # blobs up to here are read together: 64 are 2 MiB at most


class BlobReading:
    """The base of BlobService's parts."""

    def __init__(self, storages: Storages, git: Git, objects: Objects) -> None:
        self._storages = storages
        self._git = git
        self._objects = objects

    async def _small(
        self, repository: RepositoryPaths, blobs: Sequence[ObjectInfo]
    ) -> Mapping[str, bytes]:
        """The contents of those that are small and not empty, by id. Raises Internal."""
        names = [one.object_id.encode() for one in blobs if 0 < one.size <= SMALL_BYTES]
        found = await self._objects.read_many(repository, names) if names else []
        if None in found:
            raise Internal("requesting object: object not found")
        return {one.object_id: one.data for one in found if one is not None}
