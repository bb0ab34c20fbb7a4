"""`custom_hooks` as a tar archive: read with suspicion, written as the reference writes it. Blocks.

An archive comes from a client. Nothing of it may land outside the directory that it is unpacked
to, and an archive that breaks off must not replace anything.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from typing import IO, Final

from gitaly.errors import Internal, InvalidRequest
from gitaly.hooks.custom.discovery import DIRECTORY

BLOCK: Final = bytes(512)
PIECE_BYTES: Final = 1 << 16
MOST_ENTRIES: Final = 10_000
MOST_BYTES: Final = 1 << 30  # of all files together


class BadArchive(Internal):
    """Not an archive, or one that breaks off."""

    def __init__(self, why: str) -> None:
        # The words of the reference, which lets tar(1) find out.
        super().__init__(
            "extracting hooks: waiting for tar command completion: exit status 2", why=why
        )


class HostileArchive(InvalidRequest):
    """An archive that would do more than put hooks into place."""

    def __init__(self, why: str) -> None:
        super().__init__(f"extracting hooks: {why}")


def read_archive(file: IO[bytes], target: str) -> None:
    """Unpack the entries `custom_hooks` and `custom_hooks/…` to `target/custom_hooks`.

    The directory exists afterwards, even if the archive has no such entry or is empty. `target` is
    ours alone, and has no `custom_hooks` yet. Raises BadArchive, HostileArchive, OSError.
    """
    top = os.path.join(target, DIRECTORY)
    os.mkdir(top, 0o755)
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            _Unpacking(archive, target).run()
            end = archive.offset
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise BadArchive(str(error)) from error
    file.seek(end)
    if file.read(len(BLOCK)) != BLOCK:
        raise BadArchive("the end of the archive is missing")


class _Unpacking:
    def __init__(self, archive: tarfile.TarFile, target: str) -> None:
        self._archive = archive
        self._target = target
        self._made: dict[str, str] = {DIRECTORY: "directory"}  # relative path to its kind
        self._modes: dict[str, int] = {}  # of directories; set when everything is in them
        self._entries = 0
        self._bytes_left = MOST_BYTES
        self._allowed = 0o777 & ~_umask()

    def run(self) -> None:
        for member in self._archive:
            self._entries += 1
            if self._entries > MOST_ENTRIES:
                raise HostileArchive(f"more than {MOST_ENTRIES} entries")
            parts = _parts(member.name)
            if parts and parts[0] == DIRECTORY:
                self._unpack(member, "/".join(parts))
        for path, mode in reversed(self._modes.items()):
            os.chmod(os.path.join(self._target, path), mode)

    def _unpack(self, member: tarfile.TarInfo, path: str) -> None:
        full = os.path.join(self._target, path)
        self._make_parents(path)
        kind = self._made.get(path)
        if member.isdir():
            if kind is None:
                os.mkdir(full, 0o700)
            elif kind != "directory":
                raise HostileArchive("a directory in the place of another entry")
            self._made[path] = "directory"
            self._modes[path] = (member.mode & self._allowed) | 0o700
            return
        if kind is not None:
            raise HostileArchive("two entries with one name")
        if member.isreg():
            self._write(member, full)
        elif member.issym():
            os.symlink(member.linkname, full)
        elif member.islnk():
            original = "/".join(_parts(member.linkname))
            if self._made.get(original) != "file":
                raise HostileArchive("a hard link to something that is not in the archive")
            os.link(os.path.join(self._target, original), full)
        else:
            raise HostileArchive("an entry that is no file, directory or link")
        self._made[path] = "file" if member.isreg() else "link"

    def _make_parents(self, path: str) -> None:
        """No parent may be a link that the archive itself has brought."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            kind = self._made.get(parent)
            if kind is None:
                os.mkdir(os.path.join(self._target, parent), 0o755)
                self._made[parent] = "directory"
            elif kind != "directory":
                raise HostileArchive("an entry below something that is no directory")

    def _write(self, member: tarfile.TarInfo, full: str) -> None:
        self._bytes_left -= member.size
        if self._bytes_left < 0:
            raise HostileArchive(f"more than {MOST_BYTES} bytes")
        content = self._archive.extractfile(member)
        assert content is not None
        mode = (member.mode & self._allowed) | 0o600
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            left = member.size
            while left:
                piece = content.read(min(left, PIECE_BYTES))
                if not piece:
                    raise BadArchive("the archive breaks off within a file")
                file.write(piece)
                left -= len(piece)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)


def _parts(name: str) -> list[str]:
    if name.startswith("/"):
        raise HostileArchive("an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise HostileArchive("a path that leaves the archive")
    return parts


def _umask() -> int:
    """The kernel tells; asking by setting it would set it for every thread."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def write_archive(repository_path: str, file: IO[bytes]) -> bool:
    """Write `custom_hooks` of a repository; False, and nothing is written, if there is none.

    Modes are widened so that any user may read what is unpacked: readable, writable, and
    executable if it was for its owner. Raises OSError. Source: Gitaly, internal/archive/tar.go.
    """
    top = os.path.join(repository_path, DIRECTORY)
    if not os.path.lexists(top):
        return False
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _walk(top):
            archive.inodes.clear()  # type: ignore[attr-defined]  # else a second name becomes a link
            member = archive.gettarinfo(path, arcname=os.path.relpath(path, repository_path))
            if (
                member is None
                or member.islnk()
                or not (member.isreg() or member.isdir() or member.issym())
            ):
                continue
            member.mtime = int(member.mtime)
            member.uname = member.gname = ""
            member.mode |= 0o666 | (0o111 if member.mode & stat.S_IXUSR else 0)
            if member.isreg():
                with open(path, "rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)
    return True


def _walk(top: str) -> Iterator[str]:
    """In lexical order, directories before what they hold; links are not followed."""
    yield top
    if os.path.islink(top) or not os.path.isdir(top):
        return
    for name in sorted(os.listdir(top), key=os.fsencode):
        yield from _walk(os.path.join(top, name))
