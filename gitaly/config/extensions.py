"""The tables of object storage and of experiments."""

from dataclasses import dataclass

from gitaly.config.schema import Section, Unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfig(Section):
    """`[backup]`. `buffer_size` is in bytes; 0: as the storage library likes."""

    go_cloud_url: str = ""
    wal_backup_go_cloud_url: str = ""
    wal_backup_worker_count: Unsigned = 0
    buffer_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleURIConfig(Section):
    """`[bundle_uri]`."""

    go_cloud_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionsConfig(Section):
    """`[transactions]`: a write-ahead log for every partition."""

    enabled: bool = False
    max_inactive_partitions: Unsigned = 0
    recover_pending_wal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig(Section):
    """`[raft]`. The election and heartbeat are counted in round trips, the timeout in ms."""

    enabled: bool = False
    cluster_id: str = ""
    rtt_milliseconds: Unsigned = 0
    election_rtt: Unsigned = 0
    heartbeat_rtt: Unsigned = 0
    proposal_conf_change_timeout: Unsigned = 0
    snapshot_dir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadingConfig(Section):
    """`[offloading]`. An empty `cache_root`: a directory below the runtime directory."""

    enabled: bool = False
    cache_root: str = ""
    go_cloud_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMetadataConfig(Section):
    """`[pool_metadata]`."""

    database_path: str = ""
