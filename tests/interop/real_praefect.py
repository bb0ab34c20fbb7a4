"""An installed Praefect, with a PostgreSQL of its own, in front of nodes of this tree."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.node_process import NodeProcess, free_port, wait_until

OUTER: Final = "of clients"
INNER: Final = "of nodes"
CONFIG: Final = """
listen_addr = "127.0.0.1:{port}"
[auth]
token = "{outer}"
[database]
host = "127.0.0.1"
port = {database}
user = "praefect"
dbname = "postgres"
sslmode = "disable"
[failover]
enabled = true
election_strategy = "per_repository"
[[virtual_storage]]
name = "default"
default_replication_factor = {nodes}
"""
NODE: Final = """[[virtual_storage.node]]
storage = "{name}"
address = "tcp://127.0.0.1:{port}"
token = "{inner}"
"""


def postgres_programs() -> Path | None:
    """The directory of initdb and pg_ctl, which Debian does not put on PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def cluster_node(directory: Path, name: str, extra: str = "") -> NodeProcess:
    """A node with a storage of that name."""
    storage = directory / name
    storage.mkdir(parents=True)
    own = f'[[storage]]\nname = "{name}"\npath = "{storage}"\n[auth]\ntoken = "{INNER}"\n{extra}'
    return NodeProcess(directory, extra=own)


@contextmanager
def postgres(programs: Path, directory: Path) -> Iterator[int]:
    """The port of a database server; it does not run as root."""
    port = free_port()
    data = directory / "pg"
    data.mkdir()
    who: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, "postgres")
        for above in (directory, *directory.parents[:3]):
            if above.stat().st_uid == os.geteuid() and above != Path("/tmp"):
                above.chmod(above.stat().st_mode | 0o011)
        who = ["runuser", "-u", "postgres", "--"]
    _run(*who, programs / "initdb", "-D", data, "-A", "trust", "-U", "praefect")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    control: list[str | Path] = [*who, programs / "pg_ctl", "-D", data, "-l", data / "log", "-w"]
    _run(*control, "-o", options, "start")
    try:
        yield port
    finally:
        _run(*control, "-m", "immediate", "stop")


@dataclass(frozen=True)
class RealPraefect:
    """One that serves."""

    program: Path
    config: Path
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, *arguments: str) -> str:
        """What a subcommand prints. It must end well."""
        return _run(self.program, "-config", self.config, *arguments)


@contextmanager
def real_praefect(
    program: Path, directory: Path, nodes: Sequence[tuple[str, NodeProcess]]
) -> Iterator[RealPraefect]:
    """One in front of nodes, by the names of their storages."""
    programs = postgres_programs()
    assert programs is not None
    with postgres(programs, directory) as database:
        found = RealPraefect(program, directory / "praefect.toml", free_port())
        text = CONFIG.format(port=found.port, outer=OUTER, database=database, nodes=len(nodes))
        for name, node in nodes:
            text += NODE.format(name=name, port=node.tcp, inner=INNER)
        found.config.write_text(text)
        found.ask("sql-migrate")
        with open(directory / "praefect.log", "wb") as log:
            child = subprocess.Popen(
                [program, "-config", found.config, "serve"], stdout=log, stderr=log
            )
        try:
            wait_until(lambda: _is_healthy(found), "Praefect to find its nodes healthy")
            yield found
        finally:
            child.terminate()
            child.wait(30)


def _is_healthy(praefect: RealPraefect) -> bool:
    try:
        socket.create_connection(("127.0.0.1", praefect.port), 1).close()
        return "All checks passed" in praefect.ask("check")
    except (AssertionError, OSError):
        return False


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout
