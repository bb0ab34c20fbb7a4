"""Puts the hook program where git finds it: a directory of one node, gone when the node is.

    <runtime directory>/gitaly-hooks                the program
    <runtime directory>/hooks-<random>.d/<hook>     links to it, for core.hooksPath
    <runtime directory>/hooks-<random>-<bits>.d/<hook>   links for some hooks of a push

Source of the layout: Gitaly, internal/gitaly/config/config.go (SetupRuntimeDirectory).
"""

import marshal
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitaly.errors import NodeError
from gitaly.hooks.payload import RECEIVE, Requested

HOOKS: Final = ("pre-receive", "post-receive", "update", "reference-transaction", "proc-receive")
PUSH_BITS: Final[Mapping[str, Requested]] = {
    "reference-transaction": Requested.REFERENCE_TRANSACTION,
    "update": Requested.UPDATE,
    "pre-receive": Requested.PRE_RECEIVE,
    "post-receive": Requested.POST_RECEIVE,
}
SHEBANG_BYTES: Final = 127  # what every kernel takes
# Isolated from the environment, and without `site`: it starts in half the time.
FLAGS: Final = "-IS"


class HooksCannotRun(NodeError):
    """Git would leave hooks out that it may not execute, and let every push pass."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"hooks cannot be executed in {directory}, and git would accept every push without"
            " asking them: the file system is mounted noexec (Debian mounts /run like that): set"
            " runtime_dir to a directory on another one, or mount it without noexec"
        )


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the program is."""

    program: str
    hooks_directory: str  # core.hooksPath where all hooks shall run

    def directory_for(self, requested: Requested) -> str:
        """core.hooksPath with only these hooks of a push: git starts a process for each it finds.

        All of them, if others are asked for, too.
        """
        if requested & ~RECEIVE:
            return self.hooks_directory
        return f"{self.hooks_directory.removesuffix('.d')}-{int(requested)}.d"

    @property
    def command(self) -> str:
        """The program as configuration names it: git hands odd names to a shell."""
        return shlex.quote(self.program)


def install(runtime_directory: str, socket_path: str) -> Installation:
    """Write the program, which asks the node at `socket_path`. Raises OSError,
    HooksCannotRun."""
    program = os.path.join(runtime_directory, "gitaly-hooks")
    descriptor = os.open(program, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with open(descriptor, "wb") as file:
        file.write(program_text(os.path.realpath(sys.executable), socket_path))
    if not os.access(program, os.X_OK):  # as git asks
        raise HooksCannotRun(runtime_directory)
    directory = tempfile.mkdtemp(prefix="hooks-", suffix=".d", dir=runtime_directory)
    _link(program, directory, HOOKS)
    installation = Installation(program, directory)
    for bits in range(RECEIVE + 1):
        some = installation.directory_for(Requested(bits))
        os.mkdir(some, 0o700)
        _link(program, some, [hook for hook, bit in PUSH_BITS.items() if bit & bits])
    return installation


def _link(program: str, directory: str, hooks: Iterable[str]) -> None:
    for hook in hooks:
        os.symlink(program, os.path.join(directory, hook))


def program_text(interpreter: str, socket_path: str) -> bytes:
    """The program for an interpreter, which must be the one that runs here.

    It is compiled already, because to compile it anew for each hook would take a millisecond.
    """
    source = Path(__file__).with_name("program.py")
    code = marshal.dumps(compile(source.read_bytes(), "gitaly-hooks", "exec", optimize=2))
    lines = [
        *_beginning(interpreter),
        b"# What git runs as a hook; compiled from gitaly/hooks/program.py.",
        b"import marshal, sys",
        b"found = {'__name__': 'gitaly_hooks'}",
        b"exec(marshal.loads(%r), found)" % code,
        b"encoding = sys.getfilesystemencoding()",
        b"arguments = [x.encode(encoding, 'surrogateescape') for x in sys.argv]",
        b"found['main'](%r, arguments)" % os.fsencode(socket_path),
        b"",
    ]
    return b"\n".join(lines)


def _beginning(interpreter: str) -> list[bytes]:
    line = os.fsencode(f"#!{interpreter} {FLAGS}")
    if len(line) <= SHEBANG_BYTES and not set(interpreter) & set(" \t\n"):
        return [line]
    # A shell sees the command `exec`, Python a string between triple quotes.
    command = os.fsencode(f"'''exec' {shlex.quote(interpreter)} {FLAGS} \"$0\" \"$@\"")
    return [b"#!/bin/sh", command, b"' '''"]
