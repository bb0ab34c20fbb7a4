"""A repository as the rooms above and below mean it: checked, and with its place on disk."""

import re
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from gitaly.errors import FailedPrecondition, NotFound

# The first is not anchored in Gitaly either; the second must be as Praefect writes it.
_RAILS_POOL: Final = re.compile(r"@pools/([0-9a-f]{2})/([0-9a-f]{2})/\1\2[0-9a-f]{60}\.git$")
_PRAEFECT_POOL: Final = "@cluster/pools/"


class RepositoryNotFound(NotFound):
    """Nothing is at the repository's path."""

    def __init__(self, storage_name: str, relative_path: str) -> None:
        super().__init__(
            "repository not found", storage_name=storage_name, relative_path=relative_path
        )


class RepositoryNotValid(FailedPrecondition):
    """A directory is there, but it is no repository."""

    def __init__(self, missing: str, path: str) -> None:
        super().__init__(f'repository not valid: "{missing}" does not exist', repository_path=path)
        self.missing = missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository of one of the node's storages. Satisfies `gitaly.git.RepositoryPaths`."""

    storage_name: str
    storage_path: str  # absolute
    relative_path: str  # as the request names it: key of limits, votes and quarantines
    path: str  # absolute and lexically clean, below or equal to storage_path
    git_object_directory: str = ""  # relative to `path`; of a quarantine
    git_alternate_object_directories: tuple[str, ...] = ()
    gl_repository: str = ""  # "project-1"; GitLab's name for hooks
    gl_project_path: str = ""

    @property
    def is_object_pool(self) -> bool:
        """Whether its path is one that GitLab or Praefect give to pools."""
        return self.relative_path.startswith(_PRAEFECT_POOL) or bool(
            _RAILS_POOL.search(self.relative_path)
        )

    @property
    def quarantine_prefix(self) -> str:
        """How the names of its quarantine directories in `+gitaly/tmp` begin."""
        digest = sha1(self.relative_path.encode(), usedforsecurity=False)
        return f"quarantine-{digest.hexdigest()[:16]}-"
