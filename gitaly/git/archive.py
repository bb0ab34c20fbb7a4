"""Archives of a tree, as `git archive` makes them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from gitaly.errors import FailedPrecondition, Internal
from gitaly.git.command import Git, GitFailed
from gitaly.git.default_config import EMPTY_TREE
from gitaly.git.format import Format
from gitaly.git.invocation import Options
from gitaly.git.objects import Objects
from gitaly.git.output import output_pieces
from gitaly.git.paths import RepositoryPaths
from gitaly.git.revision_syntax import ID_DIGITS
from gitaly.git.trees import parse_tree

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


async def check_archive(
    objects: Objects, repository: RepositoryPaths, archive: Archive, form: Format
) -> None:
    """Raises FailedPrecondition if what is asked for does not exist, or the commit is empty."""
    finder = _Finder(objects, repository, archive.commit, form)
    if archive.path == ROOT:
        root = await objects.info(repository, archive.commit + b"^{tree}")
        if root is None:
            raise Internal("object not found")
        is_there = root.object_id != EMPTY_TREE[form.object_format]
    else:
        is_there = await finder.has(archive.path)
    if not is_there:
        raise FailedPrecondition("path doesn't exist")
    for index, path in enumerate(archive.exclude):
        if not await finder.has(path):
            raise FailedPrecondition(f"exclude[{index}] doesn't exist")


async def archive_pieces(
    git: Git, repository: RepositoryPaths, archive: Archive
) -> AsyncGenerator[bytes, None]:
    """The archive. Raises GitFailed, perhaps after some of it."""
    async with git.run("archive", **archive_options(repository, archive)) as child:
        assert child.stdout is not None
        async with aclosing(output_pieces(child.stdout)) as pieces:
            async for piece in pieces:
                yield piece
        how = await child.wait()
    if not how:
        raise GitFailed(how, child.error_text)


def archive_options(repository: RepositoryPaths, archive: Archive) -> Options:
    """How `git archive` is told what to make."""
    treeish, pathspecs = _selection(archive)
    compression = _COMPRESSION.get(archive.format)
    return Options(
        repository=repository,
        flags=[("--format", archive.format.value), ("--prefix", f"{archive.prefix}/")],
        args=[treeish],
        after_separator=pathspecs,
        config=[*archive.config, *([compression] if compression else [])],
        env=archive.env,
    )


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


class _Finder:
    """Looks for entries in the trees of one commit, reading each tree once."""

    def __init__(
        self, objects: Objects, repository: RepositoryPaths, commit: bytes, form: Format
    ) -> None:
        self._objects = objects
        self._repository = repository
        self._commit = commit
        self._id_bytes = ID_DIGITS[form.object_format] // 2
        self._trees: dict[bytes, frozenset[bytes]] = {}

    async def has(self, path: bytes) -> bool:
        directory, _, name = path.rpartition(b"/")
        if directory not in self._trees:
            self._trees[directory] = await self._names(directory)
        return name in self._trees[directory]

    async def _names(self, directory: bytes) -> frozenset[bytes]:
        tree = await self._objects.read(self._repository, self._commit + b":" + directory)
        if tree is None or tree.type != "tree":
            return frozenset()
        return frozenset(entry.name for entry in parse_tree(tree.data, self._id_bytes))
