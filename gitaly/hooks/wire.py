"""How a hook program and the node speak: bytes in, values out; values in, bytes out.

The program connects to a unix socket that only it and its like use, and says

    "gitaly-hook" version:1 length:4 body       with stdin, stdout and stderr as SCM_RIGHTS

where the body is words separated by NUL: the number of arguments, the arguments with the name of
the program first, then the environment as NAME=value. Then the node gives instructions, each with
a head of 17 bytes, kind:1 first:8 second:8, which the program obeys one after the other:

    FILE   0 0            the file of the copies that follow; comes with a descriptor
    COPY   start end      copy this part of the file to stdout; answered by a report
    WRITE  1 length …     write these bytes to stdout; answered by a report
    WRITE  2 length …     write these bytes to stderr
    EXIT   status 0       end

A report is moved:8 error:4: bytes that stdout took, and the errno that ended it, or 0. All numbers
are big-endian. A program that loses the node complains to stderr and exits with 1.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gitaly.errors import NodeError

MAGIC: Final = b"gitaly-hook"
VERSION: Final = 1
PREFACE: Final = struct.Struct(f">{len(MAGIC)}sBI")
INSTRUCTION: Final = struct.Struct(">BQQ")
REPORT: Final = struct.Struct(">QI")
# The kernel gives a program 2 MiB of arguments and environment by default, a quarter of its stack.
MOST_HELLO_BYTES: Final = 16 << 20
STDOUT: Final = 1
STDERR: Final = 2


class Kind(IntEnum):
    """What a program can be told."""

    FILE = 1
    COPY = 2
    WRITE = 3
    EXIT = 4


class HookProtocolError(NodeError):
    """What came is not what a hook program says."""


@dataclass(frozen=True, slots=True)
class Hello:
    """How a hook program was called."""

    arguments: Sequence[bytes]  # the program's own name first
    environment: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a copy, or of bytes for stdout."""

    moved: int  # bytes
    error: int = 0  # errno


class Decoder:
    """Received bytes in, the hello and then reports out. Keeps what is incomplete.

    Raises HookProtocolError for anything else, and is of no use after that.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._greeted = False

    def receive(self, data: bytes) -> Iterator[Hello | Report]:
        """What `data` completes, in order; exhaust it before the next call."""
        self._rest += data
        if not self._greeted:
            hello = self._hello()
            if hello is None:
                return
            self._greeted = True
            yield hello
        while len(self._rest) >= REPORT.size:
            report = Report(*REPORT.unpack_from(self._rest))
            self._rest = self._rest[REPORT.size :]
            yield report

    def _hello(self) -> Hello | None:
        if len(self._rest) < PREFACE.size:
            if not MAGIC.startswith(self._rest[: len(MAGIC)]):
                raise HookProtocolError("not a hook program")
            return None
        magic, version, size = PREFACE.unpack_from(self._rest)
        if magic != MAGIC:
            raise HookProtocolError("not a hook program")
        if version != VERSION:
            raise HookProtocolError(f"hook program of version {version}, this is {VERSION}")
        if size > MOST_HELLO_BYTES:
            raise HookProtocolError(f"{size} bytes of arguments and environment")
        end = PREFACE.size + size
        if len(self._rest) < end:
            return None
        body, self._rest = self._rest[PREFACE.size : end], self._rest[end:]
        return _parse(body)


def _parse(body: bytes) -> Hello:
    count, *words = body.split(b"\0")
    if not count.isdigit() or len(count) > 9 or not 1 <= int(count) <= len(words):
        raise HookProtocolError("a hook program does not say how it was called")
    variables = [word.partition(b"=") for word in words[int(count) :]]
    return Hello(words[: int(count)], {name: value for name, _, value in variables})


def file() -> bytes:
    """The head that a descriptor travels with."""
    return INSTRUCTION.pack(Kind.FILE, 0, 0)


def copy(start: int, end: int) -> bytes:
    """Copy the bytes from `start` up to `end` of the file to stdout."""
    return INSTRUCTION.pack(Kind.COPY, start, end)


def write(stream: int, data: bytes) -> bytes:
    """Write bytes to STDOUT or STDERR."""
    return INSTRUCTION.pack(Kind.WRITE, stream, len(data)) + data


def end(status: int) -> bytes:
    """End with an exit status, 0 to 255."""
    return INSTRUCTION.pack(Kind.EXIT, status, 0)
