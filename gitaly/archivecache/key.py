"""Under what an archive is kept: everything that can change it."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final

from gitaly.git import Archive, RepositoryPaths
from gitaly.streamcache import digest_of, repository_identity

ATTRIBUTES: Final = "info/attributes"
CONFIGS: Final = ("config", "config.worktree")
MOST_BYTES: Final = 1 << 20
# What brings in files, or programs, that we do not look at.
_FOREIGN: Final = re.compile(rb"attributesfile|\[\s*(?:include|filter)", re.IGNORECASE)
_FOREIGN_KEY: Final = re.compile(r"core\.attributesfile=|include|filter\.", re.IGNORECASE)
_SUBSTITUTION: Final = b"export-subst"
_UNKNOWN: Final = b"[include] attributesfile export-subst"


def key_of(
    repository: RepositoryPaths,
    object_format: str,
    archive: Archive,
    commit: str,
    admin_config: Sequence[str],
) -> str | None:
    """64 hex digits; None for what must be made anew each time. Looks at files: blocks.

    `commit`: the id of the one that `archive` names; it has no file with export-subst.
    `admin_config`: "key=value", the operator's.
    """
    if any(_FOREIGN_KEY.match(setting) for setting in admin_config):
        return None
    if _depends_on_more(repository.path):
        return None
    return digest_of(
        [
            repository_identity(repository, object_format, ("config.worktree", ATTRIBUTES)),
            _list(os.fsencode(setting) for setting in admin_config),
            commit.encode(),
            archive.format.value.encode(),
            archive.prefix.encode(),
            archive.path,
            _list(archive.exclude),
            b"elided" if archive.elides_path else b"",
            # Of LFS: which GitLab is asked, as whom, and by which name it knows the repository.
            _list(os.fsencode(part) for pair in archive.config for part in pair),
            _list(os.fsencode(part) for pair in archive.env.items() for part in pair),
        ]
    )


def _list(parts: Iterable[bytes]) -> bytes:
    return digest_of([*parts]).encode()


def _depends_on_more(path: str) -> bool:
    if any(_FOREIGN.search(_content(path, name)) for name in CONFIGS):
        return True
    return _SUBSTITUTION in _content(path, ATTRIBUTES)


def _content(path: str, name: str) -> bytes:
    """Empty for a file that is not there; of one that cannot be read, or is huge, enough to
    distrust it."""
    try:
        with open(os.path.join(path, name), "rb") as file:
            found = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError:
        return _UNKNOWN
    return found if len(found) <= MOST_BYTES else _UNKNOWN
