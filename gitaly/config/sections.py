"""The tables that describe the node itself: git, storages, logs, access, GitLab.

Defaults here are those that hold before the file is read; `defaults.py` fills in the others.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from gitaly.config.schema import NO_KEY, Section, Unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSetting(Section):
    """One `[[git.config]]` table: a setting for every git command."""

    key: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitConfig(Section):
    """`[git]`. `bin_path` is honoured by this node: the git to run; empty: the one on PATH."""

    bin_path: str = ""
    catfile_cache_size: int = 0
    config: tuple[GitSetting, ...] = ()
    signing_key: str = ""
    rotated_signing_keys: tuple[str, ...] = ()
    committer_email: str = ""
    committer_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig(Section):
    """One `[[storage]]` table. The path is lexically clean, not necessarily absolute."""

    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig(Section):
    """`[logging]`."""

    format: str = ""
    level: str = ""
    sentry_dsn: str = ""
    sentry_environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusConfig(Section):
    """`[prometheus]`. The buckets are upper bounds in seconds; none: no latency histograms.

    `status_page`: whether the listener shows what the node is doing, too; `status_page_hosts`: the
    names under which browsers may ask for it.
    """

    scrape_timeout: timedelta = timedelta(seconds=10)
    grpc_latency_buckets: tuple[float, ...] = (
        *(0.001, 0.005, 0.025, 0.1, 0.5),
        *(1.0, 10.0, 30.0, 60.0, 300.0, 1500.0),
    )
    status_page: bool = True
    status_page_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig(Section):
    """`[auth]`. Ask `secret` and `secrets`, not the keys: what a file holds is a token, too.

    `tokens` is of this node alone.
    """

    json_without_underscores: ClassVar[bool] = True
    token: str = field(default="", repr=False)
    token_file: str = ""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    transitioning: bool = False
    token_from_file: str = field(default="", repr=False, metadata=NO_KEY)

    @property
    def secret(self) -> str:
        """The one that we send to a node; empty: none."""
        return next(iter(self.secrets), "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Those that callers may hold, each once; none: calls are not authenticated."""
        given = (self.token_from_file or self.token, *self.tokens)
        return tuple(dict.fromkeys(secret for secret in given if secret))


class TLSVersion(StrEnum):
    """The lowest TLS version that a client may offer."""

    TLS_1_2 = "TLS 1.2"
    TLS_1_3 = "TLS 1.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig(Section):
    """`[tls]`. `key` is the PEM text itself, `key_path` a file that holds it."""

    certificate_path: str = field(default="", metadata={"json": "cert_path"})
    key_path: str = ""
    key: str = field(default="", repr=False)
    min_version: TLSVersion = TLSVersion.TLS_1_2


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings(Section):
    """`[gitlab.http-settings]`. `read_timeout` is in whole seconds; 0: 300."""

    read_timeout: Unsigned = 0
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    ca_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitlabConfig(Section):
    """`[gitlab]`: the internal API. An empty `url`: the node runs without a GitLab."""

    url: str = ""
    relative_url_root: str = ""
    http_settings: HTTPSettings = field(
        default_factory=HTTPSettings, metadata={"toml": "http-settings"}
    )
    secret_file: str = ""
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitlabShellConfig(Section):
    """`[gitlab-shell]`: deprecated; two defaults are taken from it."""

    dir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksConfig(Section):
    """`[hooks]`. `custom_hooks_timeout` is of this node alone: for one program; 0s: no bound."""

    custom_hooks_dir: str = ""
    custom_hooks_timeout: timedelta = timedelta(hours=1)
    packobjects_hook_max_proc: Unsigned = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneRule(Section):
    """One `[[standalone.rule]]` table: what pushes must not do. Empty patterns match all."""

    repositories: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    read_only: bool = False
    deny_deletion: bool = False
    deny_non_fast_forward: bool = False
    max_push_bytes: Unsigned = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneConfig(Section):
    """`[standalone]`, of this node alone: who decides about pushes where no GitLab does."""

    webhook_before: str = ""
    webhook_after: str = ""
    webhook_secret: str = field(default="", repr=False)
    webhook_timeout: timedelta = timedelta(seconds=10)
    rule: tuple[StandaloneRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyMaintenanceConfig(Section):
    """`[daily_maintenance]`. The start is local time; without duration or storages nothing runs."""

    start_hour: Unsigned = 0
    start_minute: Unsigned = 0
    duration: timedelta = timedelta(0)
    storages: tuple[str, ...] = ()
    disabled: bool = False

    @property
    def is_disabled(self) -> bool:
        """True also for what says too little to run: no duration, or no storage."""
        return self.disabled or not self.duration or not self.storages


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutConfig(Section):
    """`[timeout]`: how long a client may take to negotiate; not how long it may read."""

    upload_pack_negotiation: timedelta = timedelta(0)
    upload_archive_negotiation: timedelta = timedelta(0)
