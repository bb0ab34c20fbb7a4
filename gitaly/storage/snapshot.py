"""A repository as a tar archive: references, objects, and the little of its config that matters.

Files are taken by their names, so that this works for damaged repositories, too. Nothing is
locked: what is written meanwhile may be in it or not. Source: Gitaly,
internal/git/localrepo/snapshot.go and internal/archive.
"""

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from gitaly.errors import Internal
from gitaly.git import alternates_of, reason

PIECE_BYTES: Final = 128 * 1024
ALTERNATES_DEPTH: Final = 5  # git's own limit
# Snapshots may be taken of read-only copies; whoever unpacks one has his umask.
_READABLE: Final = 0o666
_EXECUTABLE: Final = 0o111
_OBJECT_FILE: Final = re.compile(
    r"/(?:[0-9a-fA-F]{2}/(?:[0-9a-fA-F]{38}|[0-9a-fA-F]{62})"
    r"|pack/pack-(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\.(?:pack|idx))\Z"
)


class AlternatesUnusable(Exception):
    """The objects of another repository cannot be added; what is there has been sent."""


def snapshot(path: str, storage_path: str) -> Iterator[bytes]:
    """The archive of the repository at `path`, in pieces of at most 128 KiB. Blocks.

    Raises Internal for a file that cannot be taken, and AlternatesUnusable at the end, which then
    lacks the two blocks of zeros: that is how clients notice.
    """
    waiting = bytearray()  # a message for each header would cost more than its bytes
    try:
        for part in _parts(path, storage_path):
            waiting += part
            while len(waiting) >= PIECE_BYTES:
                yield bytes(waiting[:PIECE_BYTES])
                del waiting[:PIECE_BYTES]
    except OSError as error:
        raise Internal(f"building snapshot failed: {reason(error)}") from error
    except AlternatesUnusable:
        yield bytes(waiting)
        raise
    yield bytes(waiting)


def _parts(path: str, storage_path: str) -> Iterator[bytes]:
    yield from _repository_files(path)
    yield from _alternates_files(path, storage_path)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _repository_files(path: str) -> Iterator[bytes]:
    yield from _file(path, "HEAD")
    yield from _file(path, "packed-refs")
    yield from _config(path)
    for directory in ("refs", "reftable", "branches"):
        yield from _directory(path, directory)
    yield from _objects(f"{path}/objects")
    yield from _file(path, "shallow")


def _file(path: str, name: str) -> Iterator[bytes]:
    """One that may be missing, but must not be a link."""
    try:
        status = os.lstat(f"{path}/{name}")
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise Internal(f"building snapshot failed: {name} is not a regular file")
    yield from _content(f"{path}/{name}", name)


def _directory(path: str, name: str) -> Iterator[bytes]:
    """With everything below it that is a directory or a regular file, in the order of names.

    What is deleted meanwhile is left out: git removes empty directories of references all the time.
    """
    try:
        status = os.lstat(f"{path}/{name}")
        if not stat.S_ISDIR(status.st_mode):
            return
        entries = sorted(os.listdir(f"{path}/{name}"))
    except FileNotFoundError:
        return
    yield _header(f"{name}/", status)
    for entry in entries:
        below = f"{name}/{entry}"
        try:
            mode = os.lstat(f"{path}/{below}").st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(mode):
            yield from _directory(path, below)
        elif stat.S_ISREG(mode):
            yield from _content(f"{path}/{below}", below)


def _objects(directory: str) -> Iterator[bytes]:
    """Loose objects and packs of an object directory, wherever that is, as `objects/…`."""
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(files):
            full = f"{parent}/{name}"
            if _OBJECT_FILE.search(full) and not os.path.islink(full):
                yield from _content(full, f"objects/{os.path.relpath(full, directory)}")


def _content(full: str, name: str) -> Iterator[bytes]:
    """Exactly as many bytes as the header says, though the file may grow."""
    try:
        fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # packed or deleted meanwhile
        return
    with open(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        yield _header(name, status)
        yield from _exactly(file, name, status.st_size)


def _exactly(file: BinaryIO, name: str, size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        if not piece:
            raise Internal(f"building snapshot failed: {name} became shorter")
        left -= len(piece)
        yield piece
    yield from _padding(size)


def _padding(size: int) -> Iterator[bytes]:
    if size % tarfile.BLOCKSIZE:
        yield bytes(-size % tarfile.BLOCKSIZE)


def _config(path: str) -> Iterator[bytes]:
    try:
        with open(f"{path}/config", "rb") as file:
            status = os.fstat(file.fileno())
            kept = kept_config(file.read())
    except FileNotFoundError:
        return
    yield _header("config", status, size=len(kept))
    yield kept
    yield from _padding(len(kept))


def kept_config(text: bytes) -> bytes:
    """What makes a repository readable: its format version and extensions."""
    section = b""
    kept = []
    for line in text.split(b"\n"):
        stripped = line.strip()
        if stripped.startswith(b"[") and b"]" in stripped:
            section = stripped[1 : stripped.index(b"]")].split(b" ")[0].lower()
        is_version = b"repositoryformatversion" in stripped.lower()
        if section == b"extensions" or (
            section == b"core" and (stripped.startswith(b"[") or is_version)
        ):
            kept.append(line)
    return b"\n".join(kept) + b"\n" if kept else b""


def _header(name: str, status: os.stat_result, *, size: int | None = None) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.mode = stat.S_IMODE(status.st_mode) | _READABLE
    if entry.mode & stat.S_IXUSR:
        entry.mode |= _EXECUTABLE
    entry.mtime = round(status.st_mtime)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
    else:
        entry.size = status.st_size if size is None else size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _alternates_files(path: str, storage_path: str) -> Iterator[bytes]:
    try:
        directories = _alternates(f"{path}/objects", storage_path, 0)
    except OSError as error:
        raise AlternatesUnusable(f"reading alternates: {reason(error)}") from error
    for directory in directories:
        yield from _objects(directory)


def _alternates(directory: str, storage_path: str, depth: int) -> list[str]:
    """Object directories that this one borrows from, and theirs."""
    try:
        directories = alternates_of(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for other in directories:
        real_root = os.path.realpath(storage_path)
        if not os.path.realpath(other).startswith(real_root.rstrip("/") + "/"):
            raise AlternatesUnusable("an alternate object directory is outside of the storage")
        if depth < ALTERNATES_DEPTH and os.path.isdir(other):
            found += [other, *_alternates(other, storage_path, depth + 1)]
    return found
