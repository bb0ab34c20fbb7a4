import os
from pathlib import Path

import pytest

from gitaly.storage.quarantines import remove_idle_quarantines

NOW = 1_700_000_000


def repository(root: Path, name: str) -> Path:
    for entry in ("objects", "refs"):
        (root / name / entry).mkdir(parents=True)
    (root / name / "HEAD").touch()
    return root / name


def quarantine(path: Path, age_seconds: int) -> Path:
    directory = path / "objects/tmp_objdir-incoming-Xy12ab"
    (directory / "pack").mkdir(parents=True)
    (directory / "pack/tmp_pack_1").write_bytes(b"half a pack")
    for entry in (directory / "pack/tmp_pack_1", directory / "pack", directory):
        os.utime(entry, (NOW - age_seconds, NOW - age_seconds))
    return directory


def test_what_a_dead_push_left_is_removed(tmp_path: Path) -> None:
    left = quarantine(repository(tmp_path, "@hashed/aa/a.git"), 7200)
    assert remove_idle_quarantines(str(tmp_path), NOW) == [str(left)]
    assert not left.exists()


@pytest.mark.parametrize("written", ["pack/tmp_pack_1", "pack", "."])
def test_a_push_that_still_writes_is_left_alone(tmp_path: Path, written: str) -> None:
    alive = quarantine(repository(tmp_path, "a.git"), 7200)
    os.utime(alive / written, (NOW - 10, NOW - 10))
    assert remove_idle_quarantines(str(tmp_path), NOW) == []
    assert (alive / "pack/tmp_pack_1").exists()


def test_nothing_else_in_the_object_directory_is_touched(tmp_path: Path) -> None:
    path = repository(tmp_path, "a.git")
    (path / "objects/ab").mkdir()
    (path / "objects/tmp_objdir-other").mkdir()
    assert remove_idle_quarantines(str(tmp_path), NOW * 2) == []
    assert sorted(p.name for p in (path / "objects").iterdir()) == ["ab", "tmp_objdir-other"]
