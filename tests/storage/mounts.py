"""File systems of our own, for what a directory cannot show: full, read-only, silent."""

import ctypes
import errno
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

FUSE_BYTES = 1 << 20
FUSE_STATFS = 17
# Source: linux/fuse.h, FUSE_INIT and FUSE_STATFS of version 7.
FUSE_ANSWERS = {
    26: struct.pack("IIIIHHIIHH32x", 7, 31, 0, 0, 1, 1, 4096, 1, 0, 0),
    FUSE_STATFS: struct.pack("QQQQQIIII24x", 1000, 500, 500, 100, 50, 4096, 255, 4096, 0),
}


def need_mounts() -> None:
    """Skip, with the reason, where we may not mount."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount file systems")
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.decode().strip()}")


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)


@contextmanager
def small_disk(path: Path, options: str = "size=32m") -> Iterator[Path]:
    """A file system in memory, mounted at `path` for the length of the block."""
    need_mounts()
    path.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "none", path)
    try:
        yield path
    finally:
        unmount(path)


def make_read_only(path: Path) -> None:
    mount("-o", "remount,bind,ro", path)


def make_writable(path: Path) -> None:
    mount("-o", "remount,bind,rw", path)


@contextmanager
def silence(path: Path) -> Iterator[None]:
    """What is at `path` hangs for the length of the block, as on NFS when the server is away.

    A FUSE file system whose program never answers; when its descriptor is closed, the kernel
    answers for it, and those who hang go on with an error.
    """
    with _fuse(path):
        yield


@contextmanager
def answering(path: Path) -> Iterator[Callable[[], int]]:
    """A FUSE file system at `path` whose program knows its size and nothing else; gives how often
    it was asked for that."""
    asked = 0

    def serve(device: int) -> None:
        nonlocal asked
        with suppress(OSError):  # the file system is gone
            while request := os.read(device, FUSE_BYTES):
                _, kind, number = struct.unpack_from("IIQ", request)
                answer = FUSE_ANSWERS.get(kind)
                error = 0 if answer is not None else -errno.ENOSYS
                asked += kind == FUSE_STATFS
                body = answer or b""
                os.write(device, struct.pack("IiQ", 16 + len(body), error, number) + body)

    with _fuse(path) as device:
        server = threading.Thread(target=serve, args=(device,), daemon=True)
        server.start()
        yield lambda: asked


@contextmanager
def _fuse(path: Path) -> Iterator[int]:
    """Mounted for the length of the block; gives the descriptor of its program."""
    need_mounts()
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"/dev/fuse: {error.strerror}")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.mount(b"silence", bytes(path), b"fuse", 0, options.encode()) != 0:
            pytest.skip(f"mounting FUSE: {os.strerror(ctypes.get_errno())}")
        try:
            yield device
        finally:
            libc.umount2(bytes(path), 2)  # MNT_DETACH: it does not wait for those who hang
    finally:
        os.close(device)
