"""What git needs to know of a repository. The storage room's Repository is one."""

from collections.abc import Sequence
from typing import Protocol


class RepositoryPaths(Protocol):
    """Where a repository is, checked by whoever made it."""

    @property
    def storage_name(self) -> str: ...

    @property
    def relative_path(self) -> str:
        """As the request named it; with the storage name, the key of limits and cgroups."""
        ...

    @property
    def path(self) -> str:
        """Absolute."""
        ...

    @property
    def git_object_directory(self) -> str:
        """Of a quarantine, relative to `path`; empty: none."""
        ...

    @property
    def git_alternate_object_directories(self) -> Sequence[str]:
        """Relative to `path`."""
        ...
