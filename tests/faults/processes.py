"""`gitaly serve` in a process of its own."""

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.nodes import config_text
from tests.transport.wires import until


class Process:
    """A node that logs to a file."""

    def __init__(
        self, directory: Path, *, grace: str = "1m", replaced: str = "", log: str = "log"
    ) -> None:
        self.directory = directory
        self._log_path = directory / log
        extra = f'graceful_restart_timeout = "{grace}"\nlogging.format = "json"'
        text = config_text(directory, extra)
        if replaced:
            key = replaced.split(" ")[0]
            text = re.sub(f"(?m)^ *{key} = .*$", lambda _: replaced, text)
        config = directory / "config.toml"
        config.write_text(text)
        program = "from gitaly.cli.main import main; main()"
        with open(self._log_path, "wb") as file:
            self.child = subprocess.Popen(
                [sys.executable, "-c", program, "serve", str(config)], stdout=file
            )

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(x) for x in self._log_path.read_text().splitlines(True) if x[-1] == "\n"]

    def messages(self) -> list[str]:
        return [line["msg"] for line in self.lines()]

    async def until_logged(self, message: str) -> None:
        await until(lambda: message in self.messages())

    def port(self, kind: str) -> int:
        """Found among the sockets that the process has: the configuration says 0."""
        return self._ports()[{"tcp": 0, "tls": 1}[kind]]

    def _ports(self) -> list[int]:
        inodes = set()
        for link in Path(f"/proc/{self.child.pid}/fd").iterdir():
            inodes.add(str(link.readlink()))
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
        listening.sort(key=lambda row: int(row[9]))  # in the order of their making
        return [int(row[1].split(":")[1], 16) for row in listening]

    def connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(20)
        try:
            connected.connect(str(self.directory / "node.sock"))
        except OSError:
            connected.close()
            raise
        return connected

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.child.wait, 30)


@contextmanager
def process(directory: Path, *, grace: str = "1m", replaced: str = "") -> Iterator[Process]:
    """A node for the length of the block. `replaced`: a line of its configuration."""
    started = Process(directory, grace=grace, replaced=replaced)
    try:
        yield started
    finally:
        started.close()
