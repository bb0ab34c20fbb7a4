"""Everything that is wrong with a configuration, in the order in which the original tells it.

Management tools compare these answers, odd keys included; none of them stops a node from starting.
Source: Gitaly, internal/gitaly/config/config.go, ValidateV2.
"""

from collections.abc import Iterable, Iterator

from gitaly.config import node_rules, resource_rules
from gitaly.config.checks import NO_TIME, at_least, directory_exists
from gitaly.config.errors import Problem, found
from gitaly.config.model import Config


def problems(config: Config) -> list[Problem]:
    """All problems, each with the full path of its key. Looks at the file system."""
    return [problem.below(*table) for table, group in _groups(config) for problem in group]


def _groups(config: Config) -> Iterator[tuple[tuple[str, ...], Iterable[Problem]]]:
    names = [storage.name for storage in config.storages]
    yield (), _listener_problems(config)
    yield ("bin_dir",), found(directory_exists(config.bin_dir))
    yield ("runtime_dir",), _runtime_dir_problems(config)
    yield ("git",), node_rules.git_problems(config.git)
    yield ("storage",), node_rules.storage_problems(config.storages)
    yield ("prometheus",), node_rules.prometheus_problems(config.prometheus)
    yield ("auth",), node_rules.auth_problems(config.auth)
    yield ("tls",), node_rules.tls_problems(config.tls)
    yield ("gitlab",), node_rules.gitlab_problems(config.gitlab)
    yield ("gitlab-shell",), node_rules.gitlab_shell_problems(config.gitlab_shell)
    yield ("hooks",), node_rules.hooks_problems(config.hooks)
    yield ("standalone",), node_rules.standalone_problems(config.standalone)
    yield ("graceful_restart_timeout",), found(at_least(config.graceful_restart_timeout, NO_TIME))
    yield (
        ("daily_maintenance",),
        resource_rules.maintenance_problems(config.daily_maintenance, names),
    )
    yield ("cgroups",), resource_rules.cgroups_problems(config.cgroups)
    yield ("concurrency",), resource_rules.concurrency_problems(config.concurrency)
    yield ("pack_objects_cache",), resource_rules.cache_problems(config.pack_objects_cache)
    yield ("archive_cache",), resource_rules.archive_cache_problems(config.archive_cache)
    yield (
        ("pack_objects_limiting",),
        resource_rules.pack_objects_limiting_problems(config.pack_objects_limiting),
    )
    yield ("backup",), resource_rules.backup_problems(config.backup)
    yield ("raft",), resource_rules.raft_problems(config.raft, config.transactions)
    yield ("offloading",), resource_rules.offloading_problems(config.offloading)


def _listener_problems(config: Config) -> Iterator[Problem]:
    if not (config.socket_path or config.listen_addr or config.tls_listen_addr):
        text = 'none of "socket_path", "listen_addr" or "tls_listen_addr" is set'
        yield Problem((), text)
    yield from node_rules.address_problems(config)


def _runtime_dir_problems(config: Config) -> Iterator[Problem]:
    if config.runtime_dir:
        yield from found(directory_exists(config.runtime_dir))
