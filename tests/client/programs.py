"""The programs as git runs them, and what stands between them and a node."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BIN: Final = Path(sys.executable).parent
SECONDS: Final = 60
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
}
REPOSITORY: Final = '{"repository": {"storageName": "default", "relativePath": "a.git"}}'


@dataclass(frozen=True)
class Answer:
    code: int
    stdout: bytes
    stderr: str


def run(*command: str | bytes, data: bytes = b"", **environment: str | bytes) -> Answer:
    """A program from start to end. `environment` is added to the usual one."""
    done = subprocess.run(
        command,
        input=data,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        timeout=SECONDS,
    )
    return Answer(done.returncode, done.stdout, done.stderr.decode())


def run_ssh(service: str = "upload-pack", data: bytes = b"", **environment: str | bytes) -> Answer:
    """gitaly-ssh; without an address it gets no farther than its arguments."""
    return run("gitaly-ssh", service, "host", "command", data=data, **environment)


def run_helper(url: str | bytes, *said: str, **environment: str | bytes) -> Answer:
    """git-remote-gitaly, which is told some lines."""
    data = "".join(f"{line}\n" for line in said).encode()
    return run("git-remote-gitaly", "origin", url, data=data, **environment)


@asynccontextmanager
async def a_node_that_leaves(after_bytes: int, last_words: bytes = b"") -> AsyncIterator[int]:
    """Listens, reads a little, and closes each connection; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(after_bytes)
        writer.write(last_words)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Cable:
    """A socket that leads to another one, until it is cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []

    async def plug(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(str(self._path))
        self._ends += [writer, far_writer]
        self._pumps += [
            asyncio.create_task(_pump(reader, far_writer)),
            asyncio.create_task(_pump(far_reader, writer)),
        ]

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def aclose(self) -> None:
        self.cut()
        await asyncio.gather(*self._pumps)


@asynccontextmanager
async def a_cable(path: Path, to: Path) -> AsyncIterator[Cable]:
    cable = Cable(to)
    async with await asyncio.start_unix_server(cable.plug, path):
        yield cable
        await cable.aclose()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
