"""`gitaly check`: whether the node that a file describes can work, in the words of its operator."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

from gitaly.cgroups import CgroupsUnusable
from gitaly.config import Config, inactive_features, load, require_startable
from gitaly.errors import NodeError
from gitaly.git.version import find_git
from gitaly.observe.log import make_logger
from gitaly.runtime_dir import RuntimeDirectory
from gitaly.spawning import try_groups
from gitaly.start_log import NO_PUSHES, STANDALONE, is_standalone

Check = tuple[str, Callable[[], str]]


def check_file(path: str) -> int:
    """Print one line for each check; 0 if all went well, else 1 and the reason on stderr."""
    try:
        config = load(path)
        require_startable(config)
    except NodeError as error:
        print("Checking configuration: FAILED")
        print(f'config_path "{path}": {error}', file=sys.stderr)
        return 1
    print("Checking configuration: OK")
    failed = False
    for what, check in _checks(config):
        try:
            found = check()
        except (NodeError, OSError) as error:
            print(f"Checking {what}: FAILED")
            print(f"{what}: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"Checking {what}: OK{found and f' ({found})'}")
    _remarks(config)
    print("FAILED" if failed else "OK")
    return int(failed)


def _checks(config: Config) -> Iterator[Check]:
    yield "git", lambda: _git(config)
    yield "runtime directory", lambda: _runtime_directory(config)
    for storage in config.storages:
        yield f'storage "{storage.name}"', lambda path=storage.path: _storage(path)  # type: ignore[misc]  # a default argument binds the path

    if config.cgroups.repositories.count:
        yield "cgroups", lambda: _cgroups(config)


def _git(config: Config) -> str:
    binary = find_git(config.git.bin_path, os.environ)
    return f"{binary.version.text} at {binary.path}"


def _runtime_directory(config: Config) -> str:
    with RuntimeDirectory(config.runtime_dir, make_logger(sys.stderr.buffer, level="error")):
        return ""


def _cgroups(config: Config) -> str:
    """What a start does: make groups, and have a process born in one."""
    logger = make_logger(sys.stderr.buffer, level="error")
    try:
        version = asyncio.run(try_groups(config, logger))
    except CgroupsUnusable as error:
        if config.cgroups.required:
            raise
        return f"not usable, git will run without limits: {error}"
    return f"v{version}, {config.cgroups.repositories.count} groups for repositories"


def _storage(path: str) -> str:
    """What creating a repository needs: to make a file, and to rename it."""
    probe = os.path.join(path, f".gitaly-check-{os.getpid()}")
    with open(probe, "x"):
        pass
    os.rename(probe, f"{probe}.renamed")
    os.unlink(f"{probe}.renamed")
    return path


def _remarks(config: Config) -> None:
    print(STANDALONE if is_standalone(config) else NO_PUSHES)
    inactive = inactive_features(config)
    if inactive:
        print(f"configured but not active: {', '.join(inactive)}")
    unknown: Final = config.origin.unknown_keys
    if unknown:
        print(f"unknown keys, ignored: {', '.join(unknown)}")
