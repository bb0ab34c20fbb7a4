import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "peer"


@dataclass(frozen=True)
class Report:
    """What a call of the peer program came to."""

    code: str
    message: str
    response: bytes
    sidechannel: str  # its error
    bytes: int  # that came on the sidechannel
    digest: str  # their SHA-256
    seconds: float


@dataclass(frozen=True)
class Peer:
    """The Go program that speaks to nodes as their clients do."""

    program: str
    directory: Path

    async def __call__(self, *arguments: str, data: bytes = b"") -> list[Report]:
        """Run it to its end."""
        return (await self.run(*arguments, data=data))[0]

    async def run(self, *arguments: str, data: bytes = b"") -> tuple[list[Report], bytes]:
        """Run it to its end; also what it printed."""
        file = self.directory / "report"
        child = await self.start("-report", str(file), *arguments)
        async with asyncio.timeout(60):
            stdout, _ = await child.communicate(data)
        assert child.returncode == 0
        return [_report(line) for line in file.read_text().splitlines()], stdout

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )


def _report(line: str) -> Report:
    found = json.loads(line)
    return Report(
        code=found["code"],
        message=found["message"],
        response=bytes.fromhex(found["response"]),
        sidechannel=found["sidechannel"],
        bytes=found["bytes"],
        digest=found["digest"],
        seconds=found["seconds"],
    )


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Shorter than pytest's: a path of a socket has about a hundred characters."""
    path = Path(tempfile.mkdtemp(prefix="node"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built once; needs Go, and at its first time the network."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the Go tool chain is not installed: real Go peers cannot be built")
    program = tmp_path_factory.mktemp("peer") / "peer"
    command = [go, "build", "-buildvcs=false", "-o", str(program), "."]
    built = subprocess.run(command, cwd=SOURCE, env=os.environ, capture_output=True, text=True)
    if built.returncode and "dial tcp" in built.stderr:
        pytest.skip("Go's modules are not in the cache, and there is no network to fetch them")
    assert built.returncode == 0, built.stderr
    return str(program)


@pytest.fixture
def peer(peer_program: str, tmp_path: Path) -> Peer:
    return Peer(peer_program, tmp_path)
