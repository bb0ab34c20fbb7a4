"""Clients that stop in the middle of a sentence: our programs, with a test in the place of git.

Version 0 of git's protocol, whose first words are the node's. Source: gitprotocol-pack(5).
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from tests.e2e.clients import SECONDS, Way, run_git
from tests.e2e.node_process import descendants_of, terminate_group, wait_until

ZERO: Final = "0" * 40
MANY_BYTES: Final = 1024 * 1024
TIMES_UNCHANGED: Final = 10


class Conversation:
    """One run of gitaly-ssh or git-remote-gitaly. Use it in a `with`."""

    def __init__(self, way: Way, service: str) -> None:
        self.way = way
        program = ["gitaly-ssh", service, "host", "command"]
        if way.program == "helper":
            program = ["git-remote-gitaly", "origin", way.url.removeprefix("gitaly::")]
        environment = way.environment(service)
        environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.version"}
        self.process = subprocess.Popen(
            program,
            env=environment | {"GIT_CONFIG_VALUE_0": str(way.version)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self.stdout = self.process.stdin, self.process.stdout
        if way.program == "helper":
            self.say(f"connect git-{service}\n".encode())
            assert self.stdout.readline() == b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            terminate_group(self.process)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def say(self, data: bytes) -> None:
        self._stdin.write(data)
        self._stdin.flush()

    def say_line(self, text: str) -> None:
        self.say(b"%04x%s\n" % (len(text) + 5, text.encode()))

    def hear_packet(self) -> bytes:
        """The payload of the next packet; b"" for a flush."""
        size = int(self.stdout.read(4), 16)
        return self.stdout.read(size - 4) if size > 4 else b""

    def hear_refs(self) -> dict[str, str]:
        refs = {}
        while packet := self.hear_packet():
            value, _, name = packet.partition(b"\0")[0].decode().strip().partition(" ")
            refs[name] = value
        return refs

    def ended(self) -> tuple[int, str]:
        """Exit status and standard error, once it is over, which must come."""
        assert self.process.stderr is not None
        code = self.process.wait(SECONDS)
        return code, self.process.stderr.read().decode()

    def git_at_the_node(self) -> list[int]:
        return descendants_of(self.way.node.pid)


@contextmanager
def stalled_fetch(way: Way) -> Iterator[Conversation]:
    """A fetch whose pack nobody reads: git at the node has been stopped by that."""
    with Conversation(replace(way, version=0), "upload-pack") as talk:
        talk.say_line(f"want {talk.hear_refs()['refs/heads/main']} ofs-delta no-progress")
        talk.say(b"0000")
        talk.say_line("done")
        assert talk.hear_packet() == b"NAK\n"
        wait_until(Standstill(talk.git_at_the_node), "git to stop")
        yield talk


class Standstill:
    """Whether git waits for somebody to empty its pipe, and has written nothing for some time."""

    def __init__(self, processes: Callable[[], list[int]]) -> None:
        self._processes = processes
        self._seen: list[str] = []

    def __call__(self) -> bool:
        written = "".join(of_process(pid, "io") for pid in self._processes())
        self._seen = [*self._seen, written][-TIMES_UNCHANGED:]
        waits = any("pipe_w" in of_process(pid, "wchan") for pid in self._processes())
        return waits and self._seen == [written] * TIMES_UNCHANGED


def of_process(pid: int, name: str) -> str:
    """A file of a process; empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""


@contextmanager
def half_a_push(way: Way, source: Path) -> Iterator[Conversation]:
    """A push of `source`'s main, of which git at the node has got one half."""
    with Conversation(replace(way, version=0), "receive-pack") as talk:
        talk.hear_refs()
        head = run_git("rev-parse", "main", cwd=source)
        command = f"{ZERO} {head} refs/heads/main\0report-status".encode()
        talk.say(b"%04x%s0000" % (len(command) + 4, command))
        (pack,) = (source / "objects" / "pack").glob("*.pack")
        data = pack.read_bytes()
        talk.say(data[: len(data) // 2])
        wait_until(lambda: bool(list(way.path.glob("objects/tmp_objdir*"))), "a quarantine")
        yield talk


def read_rest(talk: Conversation) -> int:
    """Read all that still comes; how many bytes it was."""
    total = 0
    while data := os.read(talk.stdout.fileno(), MANY_BYTES):
        total += len(data)
    return total
