"""A reception, and programs that come to it."""

import asyncio
import io
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly.hooks import EVERY, VARIABLE, HookHandler, HookReception, Installation, Payload, install
from gitaly.observe.log import make_logger
from tests.hooks.fixtures import (  # noqa: F401 - they belong to the tests below
    blocking,
    global_hooks,
    journal,
    make_hooks,
    processes,
    repository,
)

PAYLOAD = Payload(
    requested_hooks=EVERY,
    repository=Repository(storage_name="default", relative_path="a.git"),
    internal_socket_token="secret",
)


@dataclass
class Ended:
    code: int
    stdout: bytes
    stderr: bytes


@dataclass
class Place:
    """Where hook programs are installed, and who waits for them."""

    directory: Path
    installation: Installation
    reception: HookReception
    log: io.BytesIO
    payload: Payload = field(default_factory=lambda: PAYLOAD)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def start(
        self, hook: str, *arguments: str | bytes, env: dict[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        program = os.path.join(self.installation.hooks_directory, hook)
        if hook == "gitaly-hooks":
            program = self.installation.program
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env={VARIABLE: self.payload.encode(), "CORRELATION_ID": "abc"} if env is None else env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(
        self,
        hook: str,
        *arguments: str | bytes,
        said: bytes = b"",
        env: dict[str, str] | None = None,
    ) -> Ended:
        child = await self.start(hook, *arguments, env=env)
        out, err = await child.communicate(said)
        assert child.returncode is not None
        return Ended(child.returncode, out, err)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def started(place: Place, hook: str) -> subprocess.Popen[bytes]:
    """A program whose stdout nobody reads until somebody does."""
    return subprocess.Popen(
        [os.path.join(place.installation.hooks_directory, hook)],
        env={VARIABLE: place.payload.encode()},
        stdout=subprocess.PIPE,
    )


@asynccontextmanager
async def a_place(directory: Path, **handlers: HookHandler) -> AsyncIterator[Place]:
    log = io.BytesIO()
    named = {name.replace("_", "-"): handler for name, handler in handlers.items()}
    reception = HookReception(
        str(directory / "hooks"),
        token="secret",
        handlers=named,
        logger=make_logger(log, format="json"),
    )
    installation = install(str(directory), reception.path)
    async with reception:
        yield Place(directory, installation, reception, log)


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Any:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before
