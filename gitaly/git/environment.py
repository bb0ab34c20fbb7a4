"""The environment of a git child: what is passed on, what is added, and nothing else."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from gitaly.git.paths import RepositoryPaths

# Source: Gitaly, internal/command/command.go.
PASSED_ON: Final = (
    "HOME",
    "PATH",
    "LD_LIBRARY_PATH",
    "TZ",
    "GIT_TRACE",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_SETUP",
    "GIT_EXEC_PATH",
    "GIT_DEFAULT_REF_FORMAT",
    "all_proxy",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the node's own environment its children may see."""
    return {name: environment[name] for name in PASSED_ON if name in environment}


def base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What every git gets, from the node's own environment: English, silent, without host files."""
    return passed_on(environment) | {
        "LANG": "en_US.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "XDG_CONFIG_HOME": os.devnull,
    }


def quarantine_environment(repository: RepositoryPaths) -> dict[str, str]:
    """Where git finds and writes objects; empty for a repository without quarantine."""
    added = {}
    if repository.git_object_directory:
        added["GIT_OBJECT_DIRECTORY"] = os.path.join(
            repository.path, repository.git_object_directory
        )
    if repository.git_alternate_object_directories:
        added["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = ":".join(
            one_of_many(os.path.join(repository.path, directory))
            for directory in repository.git_alternate_object_directories
        )
    return added


def one_of_many(path: str) -> str:
    """A path that git does not take for two, nor for part of the next."""
    if ":" not in path:
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def secret_config(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Configuration that must not be seen in the list of processes."""
    if not pairs:
        return {}
    added = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for index, (key, value) in enumerate(pairs):
        added[f"GIT_CONFIG_KEY_{index}"] = key
        added[f"GIT_CONFIG_VALUE_{index}"] = value
    return added
