import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly.storage import RepositoryNotFound, RepositoryNotValid, Storages
from gitaly.storage.seen import Seen

MESSAGE = Repository(storage_name="default", relative_path="a.git")


@pytest.fixture
def known(tmp_path: Path) -> tuple[Storages, Path]:
    """A repository that was found once, and is remembered."""
    path = tmp_path / "a.git"
    for entry in ("objects", "refs"):
        (path / entry).mkdir(parents=True)
    (path / "HEAD").touch()
    seen = Seen(settled_nanoseconds=0)
    storages = Storages([("default", str(tmp_path))], seen)
    _let_the_clock_of_the_file_system_tick()
    storages.existing(MESSAGE)
    assert seen.is_unchanged(str(path))
    _let_the_clock_of_the_file_system_tick()
    return storages, path


def _let_the_clock_of_the_file_system_tick() -> None:
    time.sleep(0.03)


def test_a_fresh_change_is_not_trusted(tmp_path: Path) -> None:
    for entry in ("objects", "refs"):
        (tmp_path / "a.git" / entry).mkdir(parents=True)
    (tmp_path / "a.git/HEAD").touch()
    seen = Seen()
    Storages([("default", str(tmp_path))], seen).existing(MESSAGE)
    assert not seen.is_unchanged(str(tmp_path / "a.git"))


def test_an_entry_that_goes_is_missed_at_once(known: tuple[Storages, Path]) -> None:
    storages, path = known
    (path / "HEAD").unlink()
    with pytest.raises(RepositoryNotValid, match='"HEAD" does not exist'):
        storages.existing(MESSAGE)


@pytest.mark.parametrize("go", [lambda p: p.rename(p.with_name("b.git"))])
def test_a_repository_that_goes_is_missed_at_once(
    known: tuple[Storages, Path], go: Callable[[Path], None]
) -> None:
    storages, path = known
    go(path)
    with pytest.raises(RepositoryNotFound):
        storages.existing(MESSAGE)


def test_a_file_in_the_place_of_a_repository_is_noticed(known: tuple[Storages, Path]) -> None:
    storages, path = known
    path.rename(path.with_name("b.git"))
    path.touch()
    with pytest.raises(Exception, match="not a directory"):
        storages.existing(MESSAGE)


def test_a_repository_that_comes_back_under_its_path_is_checked_anew(
    known: tuple[Storages, Path],
) -> None:
    storages, path = known
    path.rename(path.with_name("b.git"))
    path.mkdir()
    with pytest.raises(RepositoryNotValid, match='"objects" does not exist'):
        storages.existing(MESSAGE)


def test_a_link_out_of_the_storage_in_the_place_of_a_repository_is_noticed(
    known: tuple[Storages, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    storages, path = known
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.git"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(Exception, match="relative path escapes root directory"):
        storages.existing(MESSAGE)
