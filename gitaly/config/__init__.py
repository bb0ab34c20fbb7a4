"""The configuration of a node: typed, with all its errors found at once, each with its key."""

from gitaly.config.durations import format_duration, parse_duration
from gitaly.config.errors import ConfigError, Problem, TOMLError
from gitaly.config.inactive import inactive_features
from gitaly.config.load import load, load_text
from gitaly.config.model import Config, Origin
from gitaly.config.report import ValidationOutcome, validate_text
from gitaly.config.resources import (
    AdaptiveLimitingConfig,
    CacheConfig,
    CgroupRepositoriesConfig,
    CgroupsConfig,
    ConcurrencyConfig,
    LimitsConfig,
    NamedCgroupConfig,
    PackObjectsCacheConfig,
    PackObjectsLimitingConfig,
    PressureConfig,
)
from gitaly.config.sections import (
    AuthConfig,
    DailyMaintenanceConfig,
    GitConfig,
    GitlabConfig,
    GitSetting,
    HooksConfig,
    HTTPSettings,
    LoggingConfig,
    PrometheusConfig,
    StandaloneConfig,
    StandaloneRule,
    StorageConfig,
    TimeoutConfig,
    TLSConfig,
    TLSVersion,
)
from gitaly.config.startup import require_startable, startup_objections
from gitaly.config.validate import problems

__all__ = [
    "AdaptiveLimitingConfig",
    "AuthConfig",
    "CacheConfig",
    "CgroupRepositoriesConfig",
    "CgroupsConfig",
    "ConcurrencyConfig",
    "Config",
    "ConfigError",
    "DailyMaintenanceConfig",
    "GitConfig",
    "GitSetting",
    "GitlabConfig",
    "HTTPSettings",
    "HooksConfig",
    "LimitsConfig",
    "LoggingConfig",
    "NamedCgroupConfig",
    "Origin",
    "PackObjectsCacheConfig",
    "PackObjectsLimitingConfig",
    "PressureConfig",
    "Problem",
    "PrometheusConfig",
    "StandaloneConfig",
    "StandaloneRule",
    "StorageConfig",
    "TLSConfig",
    "TLSVersion",
    "TOMLError",
    "TimeoutConfig",
    "ValidationOutcome",
    "format_duration",
    "inactive_features",
    "load",
    "load_text",
    "parse_duration",
    "problems",
    "require_startable",
    "startup_objections",
    "validate_text",
]
