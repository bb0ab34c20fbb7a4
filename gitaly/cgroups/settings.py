"""What an operator says about control groups; plain data, true from here on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PERIOD_US: Final = 100_000  # of the CPU quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The limits of one group. 0: no limit."""

    memory_bytes: int = 0
    cpu_shares: int = 0  # a weight beside other groups; 1024 is the usual one
    cpu_quota_us: int = 0  # microseconds of CPU in every 100 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The tables `[cgroups]` of the configuration, with their defaults filled in."""

    mountpoint: str = "/sys/fs/cgroup"
    hierarchy_root: str = "gitaly"
    parent: Resources = field(default_factory=Resources)  # of all git processes together
    count: int = 0  # how many groups the repositories are spread over; 0: none are used
    groups_per_repository: int = 1
    repository: Resources = field(default_factory=Resources)
    named: Mapping[str, "NamedGroup"] = field(default_factory=dict)  # by "<storage>/<path>"
    is_required: bool = True  # whether a node whose groups don't work refuses to start


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedGroup:
    """The group of one repository, or of several with the same name, that share it with nobody."""

    name: str  # the directory is "repos-<name>"
    resources: Resources
