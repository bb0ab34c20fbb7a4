"""Git attributes of paths, as the .gitattributes files of a revision give them."""

import posixpath
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, NamedTuple

from gitaly.errors import Internal
from gitaly.git.arguments import command_lines
from gitaly.git.command import Git
from gitaly.git.index_file import index_file
from gitaly.git.paths import RepositoryPaths
from gitaly.git.stdio import PIPE
from gitaly.git.version import ATTRIBUTES_SOURCE

UNSPECIFIED: Final = b"unspecified"
FULL_ID: Final = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
Scratch = Callable[[bytes], AbstractAsyncContextManager[str]]


class FileAttribute(NamedTuple):
    """An attribute that is specified for a path."""

    path: str
    name: str
    value: str  # "set", "unset", or what .gitattributes says


async def file_attributes(
    git: Git,
    repository: RepositoryPaths,
    revision: bytes,
    *,
    names: Sequence[str],
    paths: Sequence[str],
    scratch: Scratch,
) -> list[FileAttribute]:
    """Those that are specified, in the order of paths, and for each path of names.

    `scratch` makes a temporary file with some content, for a git that needs one. Raises
    InvalidArgument for a name that begins like an option, Internal for what git refuses.
    """
    found: list[FileAttribute] = []
    left = len(names) * len(paths)
    async with (
        _source(git, repository, revision, paths, scratch) as (flags, env),
        git.run(
            "check-attr",
            repository=repository,
            flags=["--stdin", "-z", *flags],
            args=names,
            env=env,
            stdin=PIPE,
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.feed(b"".join(path.encode() + b"\0" for path in paths))
        words: list[bytes] = []
        async for batch in child.stdout.record_batches(b"\0"):
            words += batch
            whole = len(words) - len(words) % 3
            left -= whole // 3
            found += _specified(words[:whole])
            del words[:whole]
        await child.wait()
    # All that is wrong with revision, names or paths shows in this, as with Gitaly.
    if left:
        raise Internal("read line: EOF", stderr=child.error_text.decode(errors="replace"))
    return found


def _specified(words: Sequence[bytes]) -> Iterator[FileAttribute]:
    for index in range(0, len(words), 3):
        path, name, value = words[index : index + 3]
        if value != UNSPECIFIED:
            yield FileAttribute(path.decode(), name.decode(), value.decode(errors="replace"))


Source = tuple[Sequence[tuple[str, bytes] | str], dict[str, str]]


@asynccontextmanager
async def _source(
    git: Git,
    repository: RepositoryPaths,
    revision: bytes,
    paths: Iterable[str],
    scratch: Scratch,
) -> AsyncIterator[Source]:
    """The flags and the environment that make check-attr read from a revision."""
    if revision.startswith(b"-"):
        raise Internal("read line: EOF")
    if git.binary.version >= ATTRIBUTES_SOURCE:
        yield [("--source", revision)], {}
        return
    blobs = await _attribute_files(git, repository, revision, paths)
    form = git.formats.of(repository.path)
    async with scratch(index_file(blobs, form.object_format)) as path:
        yield ["--cached"], {"GIT_INDEX_FILE": path}


async def _attribute_files(
    git: Git, repository: RepositoryPaths, revision: bytes, paths: Iterable[str]
) -> list[tuple[bytes, str]]:
    """The .gitattributes files that can matter for the paths, with their object ids."""
    blobs = []
    for wanted in command_lines(sorted({name for path in paths for name in _above(path)})):
        done = await git.output(
            "ls-tree",
            repository=repository,
            global_flags=["--literal-pathspecs"],
            flags=["--full-tree", "-z"],
            args=[revision],
            after_separator=wanted,
        )
        if not done.exit:
            if FULL_ID.fullmatch(revision):  # newer gits take its word that there is such a tree
                return []
            raise Internal("read line: EOF", stderr=done.stderr.decode(errors="replace"))
        for line in done.stdout.split(b"\0")[:-1]:
            about, _, name = line.partition(b"\t")
            _, kind, object_id = about.decode().split()
            if kind == "blob":
                blobs.append((name, object_id))
    return blobs


def _above(path: str) -> Iterator[bytes]:
    """The .gitattributes files in the directories above a path."""
    directory = posixpath.dirname(posixpath.normpath(path))
    yield b".gitattributes"
    while directory and not directory.startswith(("/", "..")):
        yield f"{directory}/.gitattributes".encode()
        directory = posixpath.dirname(directory)
