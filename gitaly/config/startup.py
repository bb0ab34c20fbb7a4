"""What keeps a node from starting. Much that `problems` tells of does not.

Source: Gitaly, internal/gitaly/config/config.go, Validate. This node can run without a GitLab and
without helper programs, so it asks for neither a secret nor `bin_dir`; a `bin_dir` that is given
must exist, as it must for the original.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from gitaly.config.defaults import absolute
from gitaly.config.durations import format_duration
from gitaly.config.errors import ConfigError, Problem
from gitaly.config.go_text import quote, reason
from gitaly.config.model import Config
from gitaly.config.node_rules import (
    address_problems,
    auth_problems,
    hooks_problems,
    setting_key_problem,
    standalone_problems,
    storage_problems,
)
from gitaly.config.resource_rules import cgroups_problems


def require_startable(config: Config) -> None:
    """Raise a ConfigError for the first group of rules that the configuration breaks.

    The text is what belongs behind "invalid config: ". Looks at the file system.
    """
    for rule in RULES:
        rule(config)


def startup_objections(config: Config) -> Iterator[str]:
    """The text of each group of rules that the configuration breaks."""
    for rule in RULES:
        try:
            rule(config)
        except ConfigError as error:
            yield error.message


def _require_storages(config: Config) -> None:
    _require_none(storage_problems(config.storages))


def _require_auth(config: Config) -> None:
    _require_none(auth_problems(config.auth))


def _require_directories(config: Config) -> None:
    _require_directory("bin_dir", config.bin_dir)
    _require_directory("runtime_dir", config.runtime_dir)


def _require_listener(config: Config) -> None:
    if not (config.socket_path or config.listen_addr or config.tls_listen_addr):
        raise ConfigError("at least one of socket_path, listen_addr or tls_listen_addr must be set")


def _require_addresses(config: Config) -> None:
    _require_none(address_problems(config))


def _require_none(problems: Iterable[Problem]) -> None:
    if texts := [str(problem) for problem in problems]:
        raise ConfigError("\n".join(texts))


def _require_git_settings(config: Config) -> None:
    for setting in config.git.config:
        if text := setting_key_problem(setting.key):
            raise ConfigError(f"invalid configuration key {quote(setting.key)}: key: {text}")


def _require_directory(name: str, path: str) -> None:
    if not path:
        return
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: path doesn't exist: {quote(path)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: stat {path}: {reason(error)}") from error
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"{name}: not a directory: {quote(path)}")


def _require_policy(config: Config) -> None:
    """A rule that is misspelt would forbid nothing, and nobody would notice."""
    _require_none(problem.below("standalone") for problem in standalone_problems(config.standalone))
    _require_none(problem.below("hooks") for problem in hooks_problems(config.hooks))
    for key in config.origin.unknown_keys:
        if key.partition(".")[0] == "standalone":
            raise ConfigError(f"unknown key in the policy: {key}")


def _require_maintenance_window(config: Config) -> None:
    """Asked even of a window that is switched off."""
    window = config.daily_maintenance
    names = [storage.name for storage in config.storages]
    for name in window.storages:
        if name not in names:
            raise ConfigError(
                f"daily maintenance specified storage {quote(name)} does not exist in configuration"
            )
    if window.start_hour > 23:
        raise ConfigError(
            f"daily maintenance specified hour '{window.start_hour}' outside range (0-23)"
        )
    if window.start_minute > 59:
        raise ConfigError(
            f"daily maintenance specified minute '{window.start_minute}' outside range (0-59)"
        )
    if window.duration > timedelta(hours=24):
        raise ConfigError(
            f"daily maintenance specified duration {format_duration(window.duration)} "
            "must be less than 24 hours"
        )


def _require_cgroups_within_parent(config: Config) -> None:
    parent, groups = config.cgroups, config.cgroups.repositories
    if 0 < parent.memory_bytes < groups.memory_bytes:
        raise ConfigError("cgroups.repositories: memory limit cannot exceed parent")
    if 0 < parent.cpu_shares < groups.cpu_shares:
        raise ConfigError("cgroups.repositories: cpu shares cannot exceed parent")
    if 0 < parent.cpu_quota_us < groups.cpu_quota_us:
        raise ConfigError("cgroups.repositories: cpu quota cannot exceed parent")
    for problem in cgroups_problems(config.cgroups):
        if "named" in problem.key:
            raise ConfigError(f"cgroups.{'.'.join(problem.key)}: {problem.message}")


def _require_cache_directory(config: Config) -> None:
    cache = config.pack_objects_cache
    if not cache.enabled:
        return
    if cache.max_age < timedelta(0):
        raise ConfigError("pack_objects_cache.max_age cannot be negative")
    if not cache.dir:
        raise ConfigError("pack_objects_cache: cannot pick default cache directory: no storages")
    if not cache.dir.startswith("/"):
        raise ConfigError("pack_objects_cache: storage directory must be absolute path")
    # Compares letters, not directories: /srv/git is refused beside the storage /srv/git2.
    if any(absolute(storage.path).startswith(absolute(cache.dir)) for storage in config.storages):
        raise ConfigError(
            "pack_objects_cache: the specified cache directory "
            "cannot be the same or a parent of the storage path"
        )


RULES: Final[Sequence[Callable[[Config], None]]] = (
    _require_listener,
    _require_addresses,
    _require_storages,
    _require_git_settings,
    _require_auth,
    _require_directories,
    _require_policy,
    _require_maintenance_window,
    _require_cgroups_within_parent,
    _require_cache_directory,
)
