"""Checks of the machine: git, directories, file systems, the hook program."""

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from gitaly.cgroups import CgroupsUnusable, OwnGroupUnusable, user_name
from gitaly.cli.checks import Check, CheckFailed, Found, Subject
from gitaly.git.version import find_git
from gitaly.hooks import install
from gitaly.observe.log import make_logger
from gitaly.spawning import try_groups
from gitaly.storage import REMOTE, Health, Problem, concern, file_system_name, probe

HOOK_SECONDS: Final = 10
SYSTEMD: Final = "/run/systemd/system"  # is there if it is process 1
DISK_ADVICE: Final[Mapping[Problem, str]] = MappingProxyType(
    {
        Problem.READ_ONLY: "mount the file system of {} writable; if the kernel has made it"
        " read-only, dmesg says why",
        Problem.NO_SPACE: "make room on the file system of {}, or give it more",
        Problem.NO_INODES: "remove files from the file system of {}, or make one with more inodes",
        Problem.BROKEN: "see what dmesg says of the disk below {}",
    }
)


def machine_checks(subject: Subject) -> Iterator[Check]:
    """In the order in which a start needs them."""
    config = subject.config
    yield Check(
        "git",
        lambda: _git(subject),
        "install git 2.39 or newer, or name one with git.bin_path",
    )
    yield Check(
        "runtime directory",
        lambda: _runtime_directory(subject),
        "let runtime_dir be a directory that the node's user may write to, with a short path",
    )
    yield Check(
        "hook program",
        lambda: _hook_program(subject),
        "mount the file system of runtime_dir without noexec, and let the node's user run"
        " the Python that runs this",
    )
    if config.cgroups.repositories.count:
        yield Check("cgroups", lambda: _cgroups(subject))
    for storage in config.storages:
        yield Check(
            f'storage "{storage.name}"',
            partial(_storage, storage.path),
            f"let the node's user write to {storage.path}, on a local file system with hard links",
        )
    if config.hooks.custom_hooks_dir:
        yield Check(
            "custom hooks",
            lambda: _custom_hooks(config.hooks.custom_hooks_dir),
            "let the node's user read hooks.custom_hooks_dir",
        )


def _git(subject: Subject) -> Found:
    binary = find_git(subject.config.git.bin_path, os.environ)
    return Found(f"{binary.version.text} at {binary.path}")


def _runtime_directory(subject: Subject) -> Found:
    return Found(os.path.dirname(subject.runtime.path))


def _hook_program(subject: Subject) -> Found:
    """It starts, and complains, as it must, that no node answers."""
    runtime = subject.runtime
    installation = install(runtime.path, runtime.socket("nobody"))
    done = subprocess.run(
        [os.path.join(installation.hooks_directory, "update")],
        env={},
        capture_output=True,
        timeout=HOOK_SECONDS,
        check=False,
    )
    if done.returncode != 1 or b"error executing git hook" not in done.stderr:
        said = done.stderr.decode(errors="replace").strip()
        raise CheckFailed(f"the program does not run: exit status {done.returncode}: {said}")
    return Found()


def _cgroups(subject: Subject) -> Found:
    """What a start does: make groups, and have a process born in one."""
    config = subject.config
    logger = make_logger(sys.stderr.buffer, level="error")
    try:
        version, path = asyncio.run(try_groups(config, logger))
    except CgroupsUnusable as error:
        if isinstance(error, OwnGroupUnusable) and os.path.isdir(SYSTEMD):
            return Found(f"not tried: {error}", warning=_elsewhere(config.origin.path))
        if config.cgroups.required:
            raise
        return Found(f"not usable, git will run without limits: {error}")
    count = config.cgroups.repositories.count
    return Found(f"v{version}, {count} groups for repositories in {os.path.dirname(path) or '.'}")


def _elsewhere(config_path: str) -> str:
    """What may well work in the unit of the node, which is not where a shell is."""
    return (
        "this command is not in the node's unit, so it cannot tell; where the unit has"
        f" Delegate=yes, this tries the same: systemd-run --pipe --wait --uid={user_name()}"
        f" -p Delegate=yes gitaly check {shlex.quote(config_path)}"
    )


def _storage(path: str) -> Found:
    """What repositories need: room, and to make a file, to link, rename and sync it."""
    health = Health()
    health.observe(probe(path, ""), 0.0)
    if health.problem is not None and health.problem in DISK_ADVICE:
        raise CheckFailed(health.error, DISK_ADVICE[health.problem].format(path))
    made = os.path.join(path, f".gitaly-check-{os.getpid()}")
    try:
        with open(made, "x") as file:
            os.fsync(file.fileno())
        os.link(made, f"{made}.link")
        os.rename(f"{made}.link", f"{made}.renamed")
    finally:
        for name in (made, f"{made}.link", f"{made}.renamed"):
            if os.path.lexists(name):
                os.unlink(name)
    kind = file_system_name(path)
    if kind in REMOTE:
        raise CheckFailed(f"{path} is on {kind}: {concern(kind)}", "use a local file system")
    note = concern(kind)
    return Found(f"{path}, {kind}{note and f': {note}'}")


def _custom_hooks(path: str) -> Found:
    if not os.path.lexists(path):
        return Found(f"{path} does not exist: no hooks for all repositories")
    names = sorted(name for name in os.listdir(path) if name.endswith(".d"))
    return Found(f"{path}: {', '.join(names) or 'none'}")
