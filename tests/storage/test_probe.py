"""What one look at a storage finds, on real file systems."""

import os
from pathlib import Path

import pytest

from gitaly.storage import Problem, ensure_filesystem_id, probe
from gitaly.storage.metadata import FILE_NAME
from tests.storage.mounts import make_read_only, make_writable, small_disk


def found(root: Path, identity: str = "") -> tuple[Problem | None, str]:
    seen = probe(str(root), identity)
    return seen.problem, seen.error


def test_a_directory_is_a_storage_and_nothing_is_left_in_it(root: Path) -> None:
    identity = ensure_filesystem_id(str(root))
    assert found(root, identity) == (None, "")
    assert os.listdir(root) == [FILE_NAME]


def test_space_and_time_are_told(root: Path) -> None:
    seen = probe(str(root), "")
    assert seen.space is not None
    assert 0 < seen.space.available_bytes <= seen.space.size_bytes
    assert seen.seconds > 0


def test_a_directory_that_is_not_there_is_gone(root: Path) -> None:
    root.rmdir()
    assert found(root) == (Problem.GONE, "No such file or directory")


def test_so_is_one_that_has_become_a_file(root: Path) -> None:
    root.rmdir()
    root.touch()
    assert found(root) == (Problem.GONE, "Not a directory")


def test_an_empty_mount_point_is_not_the_storage(root: Path) -> None:
    text = ".gitaly-metadata is missing: is the file system mounted?"
    assert found(root, "id") == (Problem.REPLACED, text)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"gitaly_filesystem_id": "other"}', "is that of another storage"),
        ("[]", "is that of another storage"),
        ("{", "is not what was written there"),
    ],
)
def test_nor_is_the_directory_of_another_one(root: Path, content: str, text: str) -> None:
    (root / FILE_NAME).write_text(content)
    assert found(root, "id") == (Problem.REPLACED, f"{FILE_NAME} {text}")


def test_a_read_only_file_system_is_noticed_although_its_mode_bits_promise_more(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        make_read_only(disk)
        assert found(disk) == (Problem.READ_ONLY, "Read-only file system")
        make_writable(disk)
        assert found(disk) == (None, "")


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        (disk / "all").write_bytes(bytes(1 << 20))
        assert found(disk) == (Problem.NO_SPACE, "No space left on device")


def test_a_disk_without_inodes_is_told_from_a_full_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=2") as disk:
        (disk / "one").touch()
        assert found(disk) == (Problem.NO_INODES, "No space left on device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_directory_that_the_node_may_not_write_to_is_denied(root: Path) -> None:
    root.chmod(0o500)
    assert found(root) == (Problem.DENIED, "Permission denied")


def test_a_file_system_that_takes_no_files_is_a_broken_storage() -> None:
    assert found(Path("/proc")) == (Problem.BROKEN, "No such file or directory")
