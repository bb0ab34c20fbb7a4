import subprocess
import sys
from pathlib import Path

import pytest

from gitaly.storage import AlreadyLocked, RepositoryLock

TAKE_AND_DIE = """
import os, sys
from gitaly.storage import RepositoryLock
RepositoryLock(sys.argv[1]).take()
os._exit(9)
"""


def test_only_one_holds_it(tmp_path: Path) -> None:
    one, other = RepositoryLock(f"{tmp_path}/a"), RepositoryLock(f"{tmp_path}/a")
    one.take()
    assert (tmp_path / "a.lock").is_file()
    with pytest.raises(AlreadyLocked, match="file already locked"):
        other.take()
    other.release()
    assert (tmp_path / "a.lock").is_file()
    one.release()
    assert list(tmp_path.iterdir()) == []
    other.take()
    other.release()


def test_a_lock_that_a_crash_has_left_is_taken_over(tmp_path: Path) -> None:
    path = f"{tmp_path}/a"
    died = subprocess.run([sys.executable, "-c", TAKE_AND_DIE, path])
    assert died.returncode == 9
    assert (tmp_path / "a.lock").is_file()
    lock = RepositoryLock(path)
    lock.take()
    with pytest.raises(AlreadyLocked):
        RepositoryLock(path).take()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_of_another_program_is_never_taken_over(tmp_path: Path) -> None:
    (tmp_path / "a.lock").touch()
    with pytest.raises(AlreadyLocked):
        RepositoryLock(f"{tmp_path}/a").take()
    assert (tmp_path / "a.lock").is_file()
