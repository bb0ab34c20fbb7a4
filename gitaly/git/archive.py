"""Archives of a tree, as `git archive` makes them."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from gitaly.errors import FailedPrecondition, Internal
from gitaly.git.arguments import command_lines
from gitaly.git.command import Git, GitFailed
from gitaly.git.default_config import EMPTY_TREE
from gitaly.git.output import output_pieces
from gitaly.git.paths import RepositoryPaths

ROOT: Final = b"."


class ArchiveFormat(Enum):
    """As `git archive --format` takes them."""

    ZIP = "zip"
    TAR = "tar"
    TAR_GZ = "tar.gz"
    TAR_BZ2 = "tar.bz2"


# Not git's own compression: clients have checksums of archives, and these programs made them.
_COMPRESSION: Final[Mapping[ArchiveFormat, tuple[str, str]]] = MappingProxyType(
    {
        ArchiveFormat.TAR_GZ: ("tar.tar.gz.command", "gzip -c -n"),
        ArchiveFormat.TAR_BZ2: ("tar.tar.bz2.command", "bzip2 -c"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What to put into an archive. Paths are clean, and relative to the root of the commit."""

    commit: bytes
    format: ArchiveFormat
    prefix: str  # of every name, followed by a slash in any case
    path: bytes = ROOT
    exclude: Sequence[bytes] = ()
    elides_path: bool = False  # names are relative to `path`; so is what is excluded, below it
    config: Sequence[tuple[str, str]] = ()  # of a filter for LFS pointers
    env: Mapping[str, str] = field(default_factory=dict)


async def check_archive(git: Git, repository: RepositoryPaths, archive: Archive) -> None:
    """Raises FailedPrecondition if what is asked for does not exist, or the commit is empty."""
    wanted = [*([archive.path] if archive.path != ROOT else []), *archive.exclude]
    if archive.path == ROOT:
        await _check_root(git, repository, archive.commit)
    there = await _existing(git, repository, archive.commit, wanted)
    if archive.path not in (ROOT, *there):
        raise FailedPrecondition("path doesn't exist")
    for index, path in enumerate(archive.exclude):
        if path not in there:
            raise FailedPrecondition(f"exclude[{index}] doesn't exist")


async def archive_pieces(
    git: Git, repository: RepositoryPaths, archive: Archive
) -> AsyncGenerator[bytes, None]:
    """The archive. Raises GitFailed, perhaps after some of it."""
    treeish, pathspecs = _selection(archive)
    compression = _COMPRESSION.get(archive.format)
    async with git.run(
        "archive",
        repository=repository,
        flags=[("--format", archive.format.value), ("--prefix", f"{archive.prefix}/")],
        args=[treeish],
        after_separator=pathspecs,
        config=[*archive.config, *([compression] if compression else [])],
        env=archive.env,
    ) as child:
        assert child.stdout is not None
        async with aclosing(output_pieces(child.stdout)) as pieces:
            async for piece in pieces:
                yield piece
        how = await child.wait()
    if not how:
        raise GitFailed(how, child.error_text)


def _selection(archive: Archive) -> tuple[bytes, list[bytes]]:
    """The tree and the pathspecs."""
    excludes = [b":(exclude)" + path for path in archive.exclude]
    if not archive.elides_path:
        return archive.commit, [_pathspec(archive.path), *excludes]
    if archive.path == ROOT:
        return archive.commit, excludes
    below = len(archive.path) + 1
    excludes = [b":(exclude)" + path[below:] for path in archive.exclude]
    return archive.commit + b":" + archive.path, excludes


def _pathspec(path: bytes) -> bytes:
    return b":(literal)" + path if path.startswith(b":") else path


async def _check_root(git: Git, repository: RepositoryPaths, commit: bytes) -> None:
    done = await git.output(
        "rev-parse",
        repository=repository,
        flags=["--verify", "--quiet"],
        args=[commit + b"^{tree}"],
    )
    if not done.exit:
        raise Internal("object not found", stderr=done.stderr.decode(errors="replace"))
    if done.stdout.decode().strip() in EMPTY_TREE.values():
        raise FailedPrecondition("path doesn't exist")


async def _existing(
    git: Git, repository: RepositoryPaths, commit: bytes, paths: Iterable[bytes]
) -> set[bytes]:
    """Those of the paths that the commit has, and perhaps directories above them."""
    found: set[bytes] = set()
    for wanted in command_lines(paths):
        done = await git.output(
            "ls-tree",
            repository=repository,
            global_flags=["--literal-pathspecs"],
            flags=["--full-tree", "--name-only", "-t", "-z"],
            args=[commit],
            after_separator=wanted,
        )
        if not done.exit:  # there is no such commit, and so nothing in it
            return set()
        found.update(done.stdout.split(b"\0"))
    return found
