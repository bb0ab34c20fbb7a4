"""Attributes of HEAD for a git that can't read them from there: until 2.43 a bare repository has
no .gitattributes, and `attr.tree` is unknown.

All files of that name in HEAD's tree are joined into one, which git reads as core.attributesFile
from its standard input. Patterns of a file in a directory get the directory in front; deeper files
come later, so that they win, as they would from the tree. What the repository has in
info/attributes wins over both. Source: gitattributes(5).
"""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypedDict

from cachetools import LRUCache

from gitaly.git.c_quoting import c_string, c_unquoted
from gitaly.git.command import Git
from gitaly.git.default_config import EMPTY_TREE
from gitaly.git.diffs.raw import parse_records
from gitaly.git.format import OBJECT_FORMATS
from gitaly.git.objects import Objects
from gitaly.git.paths import RepositoryPaths
from gitaly.git.stdio import DEVNULL, Target
from gitaly.git.version import ATTRIBUTES_OF_A_TREE

KNOWN_BYTES: Final = 16 << 20  # of joined files
FILES_AT_ONCE: Final = 100
FILES_BYTES: Final = 4 << 20  # of one repository; more do not count
_NAME: Final = b".gitattributes"
_SPACE: Final = b" \t\r\n"


class AttributeOptions(TypedDict, total=False):
    """What `Git.run` needs for it, besides everything else."""

    stdin: Target
    config: list[tuple[str, str]]


class _File(NamedTuple):
    directory: bytes  # empty, or with a slash at the end
    text: bytes


class HeadAttributes:
    """Makes git apply them, whatever its version. A newer git is left alone."""

    def __init__(self, git: Git, objects: Objects) -> None:
        self._git = git
        self._objects = objects
        self._is_needed = git.binary.version < ATTRIBUTES_OF_A_TREE
        self._known: LRUCache[tuple[str, str], bytes] = LRUCache(
            KNOWN_BYTES, lambda x: len(x) + 200
        )

    @asynccontextmanager
    async def options(
        self, repository: RepositoryPaths, *config: tuple[str, str]
    ) -> AsyncIterator[AttributeOptions]:
        """For one git, within the block; `config` is what it needs anyway."""
        text = await self._text(repository) if self._is_needed else b""
        if not text:
            yield AttributeOptions(stdin=DEVNULL, config=[*config])
            return
        file = os.memfd_create("attributes")
        try:
            os.write(file, text)
            more = ("core.attributesFile", "/dev/stdin")
            yield AttributeOptions(stdin=file, config=[*config, more])
        finally:
            os.close(file)

    async def _text(self, repository: RepositoryPaths) -> bytes:
        tree = await self._objects.resolve(repository, b"HEAD^{tree}")
        if tree is None:
            return b""
        key = (repository.path, tree)
        text = self._known.get(key)
        if text is None:
            text = joined(await self._files(repository, tree))
            if len(text) + 200 <= KNOWN_BYTES:
                self._known[key] = text
        return text

    async def _files(self, repository: RepositoryPaths, tree: str) -> list[_File]:
        """All of them. One look at the whole tree, and only when it is new."""
        [empty] = [EMPTY_TREE[x] for x in OBJECT_FORMATS if len(EMPTY_TREE[x]) == len(tree)]
        listed = await self._git.output(
            "diff-tree",
            repository=repository,
            flags=["-r", "-z", "--no-renames"],
            args=[empty, tree],
            after_separator=[b":(glob)**/" + _NAME],
        )
        entries = [*parse_records(iter(listed.stdout.split(b"\0")[:-1]))]
        ids = [entry.new_id.encode() for entry in entries]
        files: list[_File] = []
        for start in range(0, len(entries), FILES_AT_ONCE):
            some = ids[start : start + FILES_AT_ONCE]
            infos = await self._objects.infos(repository, some)
            for entry, info in zip(entries[start:], infos, strict=False):
                if info is None or info.type != "blob" or info.size > FILES_BYTES:
                    continue
                found = await self._objects.read(repository, entry.new_id.encode())
                if found is not None:
                    files.append(_File(entry.new_path.removesuffix(_NAME), found.data))
        return files


def joined(files: Iterable[tuple[bytes, bytes]]) -> bytes:
    """One file that says what those of a tree say: pairs of a directory with its slash, and text.

    Empty if there is nothing to say.
    """
    lines: list[bytes] = []
    for directory, text in sorted(files, key=lambda file: file[0].count(b"/")):
        for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            moved = _moved(directory, line.lstrip(_SPACE))
            if moved:
                lines.append(moved + b"\n")
    text = b"".join(lines)
    return text if len(text) <= FILES_BYTES else b""


def _moved(directory: bytes, line: bytes) -> bytes:
    """A line of the file in `directory`, as it must stand at the root; empty: it says nothing."""
    if not line or line.startswith((b"#", b"!")):
        return b""
    if not directory:
        return line.rstrip(b"\r")
    if line.startswith(b"[attr]"):
        return b""  # macros are for the root alone
    pattern, attributes = _cut(line)
    if pattern.startswith(b"!") or not attributes.strip(_SPACE):
        return b""
    place = b"".join(b"\\" + bytes([c]) if c in b"*?[\\" else bytes([c]) for c in directory)
    if b"/" not in pattern.rstrip(b"/"):
        place += b"**/"
    return c_string(place + pattern.removeprefix(b"/")) + b" " + attributes


def _cut(line: bytes) -> tuple[bytes, bytes]:
    """The pattern without its quotes, and the rest."""
    if line.startswith(b'"'):
        position = 1
        while position < len(line) and line[position] != ord('"'):
            position += 2 if line[position] == ord("\\") else 1
        if position < len(line):
            return c_unquoted(line[: position + 1]), line[position + 1 :]
    for position, character in enumerate(line):
        if character in _SPACE:
            return line[:position], line[position + 1 :]
    return line, b""
