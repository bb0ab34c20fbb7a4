"""How many descriptors the process may have: all that its hard limit gives.

A connection takes three, a git that runs takes four or so. What the node starts gets back the limit
that the node was born with: select(2) cannot count beyond 1024, and programs that use it rely on
the usual limit. Source: systemd, NEWS for version 240 (file descriptor limits); Go does the same.
"""

import resource
from dataclasses import dataclass
from typing import Final

from gitaly.observe.log import Logger

SENSIBLE: Final = 15_000  # GitLab's packages set this for Gitaly. Source: omnibus-gitlab, gitaly


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFiles:
    """RLIMIT_NOFILE: most descriptors that a process may have."""

    inherited: int  # soft limit at birth
    limit: int  # from now on


def raise_limit() -> OpenFiles:
    """Let the process have as many descriptors as its hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a hard limit beyond what the kernel allows by now
        return OpenFiles(inherited=soft, limit=soft)
    return OpenFiles(inherited=soft, limit=hard)


def announce(files: OpenFiles, logger: Logger) -> None:
    """Log it, louder if there are few."""
    fields = {"open_files": files.limit, "open_files_of_git": files.inherited}
    if files.limit < SENSIBLE:
        logger.warning(
            f"few files may be open at once: {files.limit}, where {SENSIBLE} are sensible;"
            f" raise the hard limit (systemd: LimitNOFILE={SENSIBLE} or more)",
            **fields,
        )
    else:
        logger.info("limit of open files", **fields)
