"""What is wrong with the disk of a storage."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.storage import Condition, Watchman, condition, ensure_filesystem_id


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    path = tmp_path / "storage"
    path.mkdir()
    ensure_filesystem_id(str(path))
    return path


@pytest.fixture
def disk(storage: Path) -> Iterator[Path]:
    """A storage on a file system of its own, of 80 MiB."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", storage], capture_output=True
    )
    if done.returncode:
        pytest.skip("this process may not mount file systems")
    try:
        ensure_filesystem_id(str(storage))
        yield storage
    finally:
        subprocess.run(["umount", storage], check=True)


def said(path: Path) -> tuple[str, str]:
    found = condition(str(path))
    return found.state, found.problem


def test_a_sound_storage_is_ok_and_its_room_is_told(storage: Path) -> None:
    found = condition(str(storage))
    status = os.statvfs(storage)
    assert (found.state, found.problem) == ("ok", "")
    assert found.total_bytes == status.f_blocks * status.f_frsize
    assert 0 < found.free_bytes < found.total_bytes


def test_a_storage_that_is_gone(storage: Path) -> None:
    gone = ("gone", "the directory is not there: is the disk mounted?")
    assert said(storage / "missing") == gone
    assert said(storage / ".gitaly-metadata") == gone


def test_a_mount_point_without_its_disk(disk: Path) -> None:
    subprocess.run(["umount", disk], check=True)
    (disk / ".gitaly-metadata").unlink()  # that of the directory below
    state, problem = said(disk)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    assert state == "other disk"
    assert problem == (
        ".gitaly-metadata is not there, which the node wrote at its start: is the disk mounted?"
    )


def test_a_disk_that_was_mounted_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert said(disk) == ("read-only", "the file system is mounted read-only")


def test_a_disk_that_is_full(disk: Path) -> None:
    (disk / "big").write_bytes(bytes(70 << 20))
    assert said(disk) == ("full", "the disk is full: 9 MiB are left")


def test_a_disk_that_never_answers_is_said_to_hang_and_nobody_waits_for_it() -> None:
    answers = threading.Event()

    def look(_: str) -> Condition:
        answers.wait()
        return Condition()

    watchman = Watchman("/data", look)
    watchman.start()
    found = watchman.found(0.01)
    threads = threading.active_count()
    watchman.start()  # it does not send another one after the first
    again = watchman.found(0)
    assert threading.active_count() == threads
    answers.set()
    later = watchman.found(20)
    assert (found.state, again.state, later.state) == ("hangs", "hangs", "ok")
    assert found.problem.startswith("the disk has not answered for 0.0 seconds")


def test_a_watchman_looks_again_each_time(storage: Path) -> None:
    watchman = Watchman(str(storage))
    watchman.start()
    before = watchman.found(20)
    (storage / ".gitaly-metadata").unlink()
    watchman.start()
    assert (before.state, watchman.found(20).state) == ("ok", "other disk")
