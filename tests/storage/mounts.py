"""File systems of our own, for what a directory cannot show: full, read-only, silent."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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
            yield
        finally:
            libc.umount2(bytes(path), 2)  # MNT_DETACH: it does not wait for those who hang
    finally:
        os.close(device)
