"""The tables that bound what the node uses: limits, control groups, caches."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from gitaly.config.schema import Section, Unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig(Section):
    """How many may run and how many may wait. `adaptive` and the three below belong together."""

    max_concurrency: int = 0  # 0: no limit
    max_per_repo: int = 0  # the former name of max_concurrency
    max_queue_size: int = 0
    max_queue_length: int = 0  # the former name of max_queue_size, for pack-objects only
    max_queue_wait: timedelta = timedelta(0)  # 0: as long as the caller waits
    adaptive: bool = False
    initial_limit: int = 0
    max_limit: int = 0
    min_limit: int = 0
    shadow: bool = False  # count what the limit would do, without doing it

    @property
    def concurrency(self) -> int:
        """How many may run at once, whichever name the file uses; 0 or less: no limit."""
        return self.max_concurrency if self.max_concurrency > 0 else self.max_per_repo

    @property
    def is_set(self) -> bool:
        """Whether the table limits anything."""
        return self.adaptive or self.max_concurrency > 0 or self.max_per_repo > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyConfig(LimitsConfig):
    """One `[[concurrency]]` table: the limits of one method, for each repository by itself."""

    rpc: str = ""
    unauthenticated: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackObjectsLimitingConfig(LimitsConfig):
    """`[pack_objects_limiting]`: the limits of git-pack-objects, for each client by itself."""

    max_concurrency: int = 200
    unauthenticated: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureConfig(Section):
    """`[adaptive_limiting.psi_pressure.*]`: thresholds are percentages of stalled time."""

    enabled: bool = False
    warning_threshold: float = 0.0
    backoff_threshold: float = 0.0
    critical_threshold: float = 0.0
    sustain_duration_seconds: int = 0
    fast_fall_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PressuresConfig(Section):
    """`[adaptive_limiting.psi_pressure]`."""

    memory: PressureConfig = field(default_factory=PressureConfig)
    io: PressureConfig = field(default_factory=PressureConfig)
    cpu: PressureConfig = field(default_factory=PressureConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveLimitingConfig(Section):
    """`[adaptive_limiting]`: ratios at which adaptive limits back off; 0: 0.5 and 0.6."""

    cpu_throttled_threshold: float = 0.0
    memory_threshold: float = 0.0
    psi_pressure: PressuresConfig = field(default_factory=PressuresConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShedderConfig(Section):
    """`[load_shedder]`."""

    enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCgroupConfig(Section):
    """One `[[cgroups.repositories.named]]` table: a repository with a group of its own."""

    json_without_underscores: ClassVar[bool] = True
    name: str = ""  # several tables may have the same: those repositories share the group
    storage: str = ""
    relative_path: str = ""
    memory_bytes: int = 0
    cpu_shares: Unsigned = 0
    cpu_quota_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupRepositoriesConfig(Section):
    """`[cgroups.repositories]`: the groups that repositories are spread over; `count` 0: none."""

    json_without_underscores: ClassVar[bool] = True
    count: Unsigned = 0
    max_cgroups_per_repo: Unsigned = 0
    memory_bytes: int = 0
    cpu_shares: Unsigned = 0
    cpu_quota_us: int = 0
    named: tuple[NamedCgroupConfig, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerCgroupMemory(Section):
    """`[cgroups.memory]`: the former spelling of `cgroups.repositories.memory_bytes`."""

    enabled: bool = False
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerCgroupCPU(Section):
    """`[cgroups.cpu]`: the former spelling of `cgroups.repositories.cpu_shares`."""

    enabled: bool = False
    shares: Unsigned = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupsConfig(Section):
    """`[cgroups]`. Sizes are bytes, quotas microseconds of a 100 ms period; 0: no limit."""

    json_without_underscores: ClassVar[bool] = True
    mountpoint: str = ""
    hierarchy_root: str = ""
    memory_bytes: int = 0
    cpu_shares: Unsigned = 0
    cpu_quota_us: int = 0
    metrics_enabled: bool = False
    required: bool = True  # whether a node whose groups don't work refuses to start
    repositories: CgroupRepositoriesConfig = field(default_factory=CgroupRepositoriesConfig)
    count: Unsigned = 0  # the former spelling of repositories.count
    memory: FormerCgroupMemory = field(default_factory=FormerCgroupMemory)
    cpu: FormerCgroupCPU = field(default_factory=FormerCgroupCPU)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig(Section):
    """`[archive_cache]`, and what `[pack_objects_cache]` has in common with it."""

    enabled: bool = False
    dir: str = ""
    max_age: timedelta = timedelta(0)
    min_occurrences: int = 0
    backpressure: bool = False
    max_bytes: int = 0  # ours; of all files together; 0: no limit
    min_free_bytes: int = 0  # ours; left to others; 0: a twentieth of the disk, at most 1 GiB


@dataclass(frozen=True, slots=True, kw_only=True)
class PackObjectsCacheConfig(CacheConfig):
    """`[pack_objects_cache]`."""

    min_occurrences: int = 1
    backpressure: bool = True
