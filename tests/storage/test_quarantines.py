import os
import subprocess
from pathlib import Path

import pytest

from gitaly.storage.quarantines import Working, remove_idle_quarantines, working_gits

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


def test_what_has_just_been_left_by_a_dead_push_is_removed(tmp_path: Path) -> None:
    left = quarantine(repository(tmp_path, "a.git"), 1)
    elsewhere = Working(frozenset({str(tmp_path / "b.git")}), seen_at=NOW)
    assert remove_idle_quarantines(str(tmp_path), NOW, elsewhere) == [str(left)]


@pytest.mark.parametrize("written", ["pack/tmp_pack_1", "pack", "."])
def test_a_push_that_still_writes_is_left_alone(tmp_path: Path, written: str) -> None:
    path = repository(tmp_path, "a.git")
    alive = quarantine(path, 7200)
    os.utime(alive / written, (NOW - 10, NOW - 10))
    here = Working(frozenset({str(path)}), seen_at=NOW)
    assert remove_idle_quarantines(str(tmp_path), NOW, here) == []
    assert (alive / "pack/tmp_pack_1").exists()


def test_a_push_that_begins_meanwhile_is_left_alone(tmp_path: Path) -> None:
    quarantine(repository(tmp_path, "a.git"), 0)
    assert remove_idle_quarantines(str(tmp_path), NOW, Working(frozenset(), seen_at=NOW)) == []


def test_gits_of_others_may_be_anywhere(tmp_path: Path) -> None:
    quarantine(repository(tmp_path, "a.git"), 10)
    unknown = Working(frozenset(), seen_at=NOW, are_all_known=False)
    assert remove_idle_quarantines(str(tmp_path), NOW, unknown) == []


def test_a_git_is_seen_where_it_works(tmp_path: Path) -> None:
    path = tmp_path / "a.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    with subprocess.Popen(
        ["git", "receive-pack", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as git:
        assert git.stdout is not None
        git.stdout.read(4)  # it has found its repository
        assert working_gits().may_be_in(str(path))
        assert not working_gits().may_be_in(str(tmp_path))
        git.kill()


def test_nothing_else_in_the_object_directory_is_touched(tmp_path: Path) -> None:
    path = repository(tmp_path, "a.git")
    (path / "objects/ab").mkdir()
    (path / "objects/tmp_objdir-other").mkdir()
    assert remove_idle_quarantines(str(tmp_path), NOW * 2) == []
    assert sorted(p.name for p in (path / "objects").iterdir()) == ["ab", "tmp_objdir-other"]
