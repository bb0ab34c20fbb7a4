"""The whole configuration of a node, typed and frozen."""

from dataclasses import dataclass, field
from datetime import timedelta

from gitaly.config.errors import ConfigError
from gitaly.config.extensions import (
    BackupConfig,
    BundleURIConfig,
    OffloadingConfig,
    PoolMetadataConfig,
    RaftConfig,
    TransactionsConfig,
)
from gitaly.config.resources import (
    AdaptiveLimitingConfig,
    CacheConfig,
    CgroupsConfig,
    ConcurrencyConfig,
    LoadShedderConfig,
    PackObjectsCacheConfig,
    PackObjectsLimitingConfig,
)
from gitaly.config.schema import NO_KEY, Section
from gitaly.config.sections import (
    AuthConfig,
    DailyMaintenanceConfig,
    GitConfig,
    GitlabConfig,
    GitlabShellConfig,
    HooksConfig,
    LoggingConfig,
    PrometheusConfig,
    StandaloneConfig,
    StorageConfig,
    TimeoutConfig,
    TLSConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the operator wrote, beside the values.

    Paths are dotted: `given` without indices ("storage.name"), the others with them
    ("storage.[0].colour"). `unknown_keys` are probably misspelt; `legacy_keys` meant something to
    older versions of Gitaly and are ignored today. A key whose table is unknown is not listed by
    itself: its table is. `path`: of the file, absolute; empty: it was no file.
    """

    path: str = ""
    given: frozenset[str] = frozenset()
    unknown_keys: tuple[str, ...] = ()
    legacy_keys: tuple[str, ...] = ()

    def gives(self, key: str) -> bool:
        """Whether the file names this key, or for a table any key in it."""
        return key in self.given or any(given.startswith(f"{key}.") for given in self.given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Section):
    """config.toml. Attributes have the names of the keys; `storages` are the `[[storage]]` tables.

    What `load` returns has every default filled in, `bin_dir` and `runtime_dir` absolute and the
    paths of storages cleaned. It is well typed, but only the validators say whether it is right.
    """

    config_command: str = ""
    socket_path: str = ""
    listen_addr: str = ""
    tls_listen_addr: str = ""
    prometheus_listen_addr: str = ""
    bin_dir: str = ""
    runtime_dir: str = ""
    graceful_restart_timeout: timedelta = timedelta(0)
    use_libp2p_yamux: bool = False
    git: GitConfig = field(default_factory=GitConfig)
    storages: tuple[StorageConfig, ...] = field(
        default=(), metadata={"toml": "storage", "json": "storage"}
    )
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    prometheus: PrometheusConfig = field(default_factory=PrometheusConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    tls: TLSConfig = field(default_factory=TLSConfig)
    gitlab: GitlabConfig = field(default_factory=GitlabConfig)
    gitlab_shell: GitlabShellConfig = field(
        default_factory=GitlabShellConfig,
        metadata={"toml": "gitlab-shell", "json": "gitlab-shell"},
    )
    hooks: HooksConfig = field(default_factory=HooksConfig)
    standalone: StandaloneConfig = field(default_factory=StandaloneConfig)
    concurrency: tuple[ConcurrencyConfig, ...] = ()
    pack_objects_limiting: PackObjectsLimitingConfig = field(
        default_factory=PackObjectsLimitingConfig
    )
    adaptive_limiting: AdaptiveLimitingConfig = field(default_factory=AdaptiveLimitingConfig)
    load_shedder: LoadShedderConfig = field(default_factory=LoadShedderConfig)
    daily_maintenance: DailyMaintenanceConfig = field(default_factory=DailyMaintenanceConfig)
    cgroups: CgroupsConfig = field(default_factory=CgroupsConfig)
    pack_objects_cache: PackObjectsCacheConfig = field(default_factory=PackObjectsCacheConfig)
    archive_cache: CacheConfig = field(default_factory=CacheConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    bundle_uri: BundleURIConfig = field(default_factory=BundleURIConfig)
    timeout: TimeoutConfig = field(default_factory=TimeoutConfig)
    transactions: TransactionsConfig = field(default_factory=TransactionsConfig)
    raft: RaftConfig = field(default_factory=RaftConfig)
    offloading: OffloadingConfig = field(default_factory=OffloadingConfig)
    pool_metadata: PoolMetadataConfig = field(default_factory=PoolMetadataConfig)
    origin: Origin = field(default_factory=Origin, metadata=NO_KEY, compare=False)

    @property
    def is_standalone(self) -> bool:
        """Whether the node runs without a GitLab: there is no [gitlab] table."""
        return not self.origin.gives("gitlab")

    def client_address(self) -> str:
        """Where a client on this machine finds the node; ConfigError if it listens nowhere."""
        if self.socket_path:
            return f"unix:{self.socket_path}"
        if self.listen_addr:
            return f"tcp://{self.listen_addr}"
        if self.tls_listen_addr:
            return f"tls://{self.tls_listen_addr}"
        raise ConfigError("no address configured")
