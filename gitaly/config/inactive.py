"""What a file may ask for although this version of the node does not do it.

The file loads, so that it can be shared with other nodes; the node says at start what it leaves
out. A feature that gets built leaves this table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gitaly.config.model import Config


def _has_maintenance(config: Config) -> bool:
    """A window that the operator chose; the one that a node has by default is not missed."""
    window = config.daily_maintenance
    return config.origin.gives("daily_maintenance") and not window.is_disabled


INACTIVE: Final[Mapping[str, Callable[[Config], bool]]] = MappingProxyType(
    {
        "backup": lambda config: config.origin.gives("backup"),
        "bundle_uri": lambda config: bool(config.bundle_uri.go_cloud_url),
        "daily_maintenance": _has_maintenance,
        "git.committer_name": lambda config: bool(
            config.git.committer_name or config.git.committer_email
        ),
        "hooks.packobjects_hook_max_proc": lambda config: bool(
            config.hooks.packobjects_hook_max_proc
        ),
        "logging.sentry_dsn": lambda config: bool(config.logging.sentry_dsn),
        "offloading": lambda config: config.offloading.enabled,
        "pool_metadata": lambda config: bool(config.pool_metadata.database_path),
        "raft": lambda config: config.raft.enabled,
        "standalone": lambda config: config.origin.gives("standalone") and not config.is_standalone,
        "transactions": lambda config: config.transactions.enabled,
        "use_libp2p_yamux": lambda config: config.use_libp2p_yamux,
    }
)


def inactive_features(config: Config) -> list[str]:
    """The names of tables and keys that are configured but have no effect, in alphabetic order."""
    return [name for name, is_configured in INACTIVE.items() if is_configured(config)]
