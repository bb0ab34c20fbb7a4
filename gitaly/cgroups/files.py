"""Reading and writing the interface files of control groups."""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

UNLIMITED: Final = 1 << 60  # v1 says "no limit" with a number near 2**63


def write(path: str, value: str) -> None:
    """Write into an interface file, which exists: a file is never made. Raises OSError."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def read(path: str) -> str | None:
    """All of it; None if there is no such file, or no such group any more."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def number(path: str) -> int | None:
    """A file that holds one number; None if there is none, or "max" in it."""
    text = read(path)
    with suppress(ValueError):
        return int(text) if text is not None else None
    return None


def limit(path: str) -> int | None:
    """A file that holds a limit; None if it limits nothing."""
    value = number(path)
    return None if value is None or value >= UNLIMITED else value


def table(path: str) -> Mapping[str, int]:
    """A file of lines "name number"; empty if there is no such file."""
    found = {}
    for line in (read(path) or "").splitlines():
        name, _, value = line.partition(" ")
        with suppress(ValueError):
            found[name] = int(value)
    return found


def pressure(path: str) -> Mapping[tuple[str, str], float]:
    """Stalled time in percent, by ("some" or "full", "avg10", "avg60" or "avg300")."""
    found = {}
    for line in (read(path) or "").splitlines():
        kind, *pairs = line.split()
        for pair in pairs:
            window, _, value = pair.partition("=")
            if window != "total":
                with suppress(ValueError):
                    found[kind, window] = float(value)
    return found


def numbers(path: str) -> list[int]:
    """The processes that a cgroup.procs lists."""
    return [int(line) for line in (read(path) or "").split() if line.isdigit()]


def subgroups(path: str) -> list[str]:
    """The names of the groups in a group; none if there is no such group."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def remove_empty(path: str) -> None:
    """Remove a group and those below it, bottom-up. Raises OSError for one that is not empty."""
    for name in subgroups(path):
        remove_empty(os.path.join(path, name))
    with suppress(FileNotFoundError):
        os.rmdir(path)
