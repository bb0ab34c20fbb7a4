"""Finds the processes of a node on this machine, and asks them what they are doing."""

import http.client
import os
import pwd
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from gitaly.config import Config
from gitaly.errors import NodeError
from gitaly.observe.pages import JSON_PATH
from gitaly.observe.snapshot import Snapshot, from_json
from gitaly.runtime_dir import status_sockets

PATIENCE_SECONDS: Final = 5.0  # a node whose event loop and disk stand still takes two
SERVING: Final = "serving"
NUMBER: Final = re.compile(r"/gitaly-([0-9]+)/[^/]*/[^/]*$")


class CannotLook(NodeError):
    """The directory in which processes of the node are found cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a node, and what it said or why it did not."""

    pid: int  # 0: not known
    snapshot: Snapshot | None = None
    problem: str = ""  # in a sentence; empty if there is a snapshot

    @property
    def is_serving(self) -> bool:
        """Whether it says that it takes calls."""
        return self.snapshot is not None and self.snapshot.node.state == SERVING


def processes_of(config: Config, patience_seconds: float = PATIENCE_SECONDS) -> list[Process]:
    """All that run, the youngest first: beside a new one an old one may still drain.

    Raises CannotLook.
    """
    try:
        paths = status_sockets(config.runtime_dir, set(_owners(config)))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CannotLook(
            f"runtime_dir {config.runtime_dir}: {error.strerror}: run this as the user of the node,"
            " or as root"
        ) from error
    found = [_ask(path, patience_seconds) for path in paths]
    if not config.runtime_dir:  # there are those of others, too
        found = [process for process in found if _is_of(process, config)]
    if any(process.is_serving for process in found):
        found = [_relieved(process) for process in found]
    return sorted(found, key=lambda p: -p.snapshot.node.started if p.snapshot else 0.0)


def _owners(config: Config) -> Iterator[int]:
    """Who may be the user of the node: the owners of its storages."""
    for storage in config.storages:
        with suppress(OSError):
            yield os.stat(storage.path).st_uid


def _relieved(process: Process) -> Process:
    """An old process that drains beside one that serves is as it should be."""
    if process.snapshot is None or process.is_serving:
        return process
    return replace(process, snapshot=replace(process.snapshot, is_healthy=True, wrong=()))


def _is_of(process: Process, config: Config) -> bool:
    snapshot = process.snapshot
    return snapshot is not None and snapshot.node.config_file == config.origin.path


def _ask(path: str, patience_seconds: float) -> Process:
    number = NUMBER.search(path)
    pid = int(number[1]) if number is not None else 0
    try:
        return _answered(pid, _fetch(path, patience_seconds))
    except TimeoutError:
        why = "it gets no CPU, or is held by code in C; gdb or py-spy can look into it"
        if _is_stopped(pid):
            why = f"it is stopped (SIGSTOP); kill -CONT {pid} lets it go on"
        problem = f"process {pid} does not answer within {patience_seconds:g} seconds: {why}"
    except PermissionError:
        problem = f"process {pid} may not be asked: run this as {_who_may(pid)}"
    except (FileNotFoundError, ConnectionRefusedError):
        problem = f"process {pid} tells nothing yet, or no more: it starts, or it ends"
    except (OSError, http.client.HTTPException, ValueError) as error:
        problem = f"process {pid} gives no answer that can be read: {error}"
    return Process(pid=pid, problem=problem)


def _answered(pid: int, body: bytes) -> Process:
    snapshot = from_json(body)
    return Process(pid=snapshot.node.pid or pid, snapshot=snapshot)


def _fetch(path: str, patience_seconds: float) -> bytes:
    connection = _UnixConnection(path, patience_seconds)
    try:
        connection.request("GET", JSON_PATH)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ValueError(f"HTTP {answer.status}")
    return body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, patience_seconds: float) -> None:
        super().__init__("node", timeout=patience_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False


def _who_may(pid: int) -> str:
    try:
        owner = pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name
    except (OSError, KeyError):
        owner = "the user of the node"
    return owner if owner == "root" else f"{owner} or as root"
