"""The groups of one node: made when first needed, removed with it, and what others have left.

    <hierarchy_root>/gitaly-<pid>            the parent, with the limits of all git together
    <hierarchy_root>/gitaly-<pid>/repos-<n>  where git runs; <n> is a number or a configured name

Everything here blocks, for some 0.1 ms a group.
"""

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gitaly.cgroups.choice import Choice
from gitaly.cgroups.hierarchy import CgroupsUnusable, Hierarchy, PlaceUnusable
from gitaly.cgroups.remedies import remedy
from gitaly.cgroups.settings import Resources, Settings
from gitaly.errors import Internal
from gitaly.observe.log import Logger

PREFIX: Final = "gitaly-"
REMOVAL_SECONDS: Final = 1.0  # for processes that have been killed and are not quite gone
FIRST: Final = "repos-0"
SPAWNER_BYTES: Final = 16 << 20  # more than a spawner process ever has, what it shares included
MOST_SEEN: Final = 8  # repositories that are remembered for each group
# What the kernel says of a place where nothing can be made: it belongs to somebody else, is
# mounted read-only, has processes of its own, or lacks a controller.
OF_PLACE: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group that exists, or did when we made it."""

    name: str
    path: str  # relative to where control groups are mounted
    resources: Resources
    doors: tuple[str, ...]
    kill_counter: str
    precedence: int  # by how much git's oom_score_adj is above the node's


class Groups:
    """Makes them, knows them, removes them."""

    def __init__(
        self, hierarchy: Hierarchy, settings: Settings, choice: Choice, pid: int, logger: Logger
    ) -> None:
        self.hierarchy = hierarchy
        self._root = settings.hierarchy_root.strip("/")
        self.parent_path = os.path.join(self._root, f"{PREFIX}{pid}")
        self._settings = settings
        self._choice = choice
        self._pid = pid
        self._logger = logger
        self._made: dict[str, Group] = {}
        self._seen: dict[str, dict[str, None]] = {}  # by group; the last one last

    @property
    def made(self) -> Mapping[str, Group]:
        """Those that exist, by name."""
        return self._made

    def groups(self) -> list[Group]:
        """Those that exist, for any thread."""
        return list(self._made.values())

    def start(self) -> None:
        """Remove what is left of others, make the parent and the first group.

        Raises CgroupsUnusable, having left nothing behind; PlaceUnusable if another place may do.
        """
        started = time.monotonic()
        self.hierarchy.prepare()
        self._prune()
        doing = "failed creating parent cgroup"
        try:
            self.hierarchy.create(self.parent_path, self._settings.parent)
            doing = "setup repository-scoped cgroup"
            self.ensure(FIRST)
        except OSError as error:
            with suppress(OSError):
                self.hierarchy.remove(self.parent_path)
            raise self._unusable(doing, error) from error
        self._logger.info(
            "finished initializing cgroups",
            duration_ms=round((time.monotonic() - started) * 1000, 3),
            version=self.hierarchy.version,
            **{"cgroup.path": self.parent_path},
        )

    def limits_of(self, key: str) -> Resources:
        """The limits that hold for a repository, those of the parent included where it has none."""
        named = self._settings.named.get(key)
        own = named.resources if named is not None else self._settings.repository
        parent = self._settings.parent
        return Resources(
            memory_bytes=own.memory_bytes or parent.memory_bytes,
            cpu_shares=own.cpu_shares,
            cpu_quota_us=own.cpu_quota_us or parent.cpu_quota_us,
        )

    def name_for(self, key: str) -> str:
        """The group of "<storage name>/<relative path>", in which a child is about to be born."""
        name = self._choice.of(key)
        if key:
            self._remember(name, key)
        return name

    def _remember(self, name: str, key: str) -> None:
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = {}
        if key in seen:
            del seen[key]
        elif len(seen) >= MOST_SEEN:
            del seen[next(iter(seen))]
        seen[key] = None

    def seen(self, name: str) -> list[str]:
        """Whose git was born in a group, the last one last. For any thread."""
        seen = self._seen.get(name)
        return list(seen.copy()) if seen is not None else []

    def ensure(self, name: str) -> Group:
        """The group, made if need be. Raises OSError."""
        group = self._made.get(name)
        if group is None:
            path = f"{self.parent_path}/{name}"
            resources = self._choice.resources(name)
            self.hierarchy.create(path, resources)
            group = self._made[name] = Group(
                name=name,
                path=path,
                resources=resources,
                doors=tuple(self.hierarchy.doors(path)),
                kill_counter=self.hierarchy.kill_counter(path),
                precedence=_precedence(resources, self._settings.parent),
            )
        return group

    def repair(self, name: str) -> Group:
        """Make it again: somebody has removed it. Raises OSError."""
        self._made.pop(name, None)
        if not all(map(os.path.isdir, self.hierarchy.directories(self.parent_path))):
            self.hierarchy.create(self.parent_path, self._settings.parent)
        return self.ensure(name)

    def stop(self) -> None:
        """Remove all of them, once their processes are gone."""
        until = time.monotonic() + REMOVAL_SECONDS
        while True:
            try:
                self.hierarchy.remove(self.parent_path)
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < until:
                    time.sleep(0.01)
                    continue
                self._logger.warning(
                    "cgroup could not be removed", error=str(error), **{"cgroup.path": self._root}
                )
            self._made.clear()
            return

    def _prune(self) -> None:
        """Remove groups of processes that don't live; one with our own number is no longer us.

        What still has processes stays: the kernel refuses, and we kill nobody's git.
        """
        for name in self.hierarchy.subgroups(self._root):
            pid = name.removeprefix(PREFIX)
            if not name.startswith(PREFIX) or not pid.isascii() or not pid.isdigit():
                continue
            if int(pid) != self._pid and os.path.exists(f"/proc/{pid}"):
                continue
            path = os.path.join(self._root, name)
            try:
                self.hierarchy.remove(path)
            except OSError as error:
                self._logger.warning(
                    "leftover cgroup could not be removed",
                    error=str(error),
                    **{"cgroup.path": path},
                )
            else:
                self._logger.info("removed leftover cgroup", **{"cgroup.path": path})

    def _unusable(self, what: str, error: OSError) -> CgroupsUnusable:
        advice = remedy(error, self.hierarchy, self._root)
        is_limit = str(error.filename).rpartition("/")[2].startswith("memory.")
        kind = PlaceUnusable if error.errno in OF_PLACE and not is_limit else CgroupsUnusable
        return kind(f"failed setting up cgroups: {what}: {error}: {advice}")


def _precedence(*resources: Resources) -> int:
    """So much that any git counts as larger than a spawner where a limit is reached, and no more.

    The kernel adds it in thousandths of the limit; or of all memory, if it is the machine's that
    is used up: somebody else may be at fault, and git shall not go for him.
    """
    limits = [found.memory_bytes for found in resources if found.memory_bytes > 0]
    return min(500, 1 + SPAWNER_BYTES * 1000 // min(limits)) if limits else 0


class SetupFailed(Internal):
    """What the client of a command hears whose group cannot be made or entered."""

    def __init__(self, where: str, number: int) -> None:
        """`where`: the group, or a file of it; `number`: errno."""
        text = f"setup cgroup: {os.strerror(number).lower()}"
        super().__init__(text, **{"cgroup.path": where})
        self.number = number
