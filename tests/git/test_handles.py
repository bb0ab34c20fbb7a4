import gc
import sys
from contextlib import suppress
from pathlib import Path

import pygit2
import pytest

from gitaly.git import Formats, Handles
from gitaly.git.handles import lookup_reference
from tests.git.support import bare, open_descriptors


def test_open_packs_are_limited_for_all_handles_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitaly.git.handles.OPEN_PACKS", 3)
    handles = Handles(Formats())
    for number in range(8):
        repository = bare(tmp_path / str(number))
        repository.git("update-ref", "refs/heads/main", repository.commit())
        repository.git("repack", "-adq")
        handle = handles.of(repository)
        assert handle is not None
        assert handle.lookup_reference("refs/heads/main").target in handle
    packs = [name for name in open_descriptors() if name.endswith(".pack")]
    assert 0 < len(packs) <= 3
    handles.clear()
    del handle
    gc.collect()
    assert [name for name in open_descriptors() if name.endswith(".pack")] == []
    monkeypatch.undo()
    Handles(Formats())  # sets the limit again


def test_packs_that_a_repack_removes_are_not_kept_open(tmp_path: Path) -> None:
    handles = Handles(Formats())
    repository = bare(tmp_path)
    for number in range(4):
        repository.git("update-ref", "refs/heads/main", repository.commit(f"{number}"))
        repository.git("repack", "-adq")
        handle = handles.of(repository)
        assert handle is not None
        assert handle.lookup_reference("refs/heads/main").target in handle
        del handle
    packs = [name for name in open_descriptors() if ".pack" in name]
    assert len(packs) == 1
    assert "deleted" not in packs[0]
    handles.clear()


def test_a_repository_whose_packs_stay_is_not_opened_again(tmp_path: Path) -> None:
    handles = Handles(Formats())
    repository = bare(tmp_path)
    repository.git("update-ref", "refs/heads/main", repository.commit())
    repository.git("repack", "-adq")
    assert handles.of(repository) is handles.of(repository)
    handles.clear()


@pytest.mark.parametrize("name", ["refs/heads/main", "refs/heads/missing", "no name"])
def test_a_name_that_was_looked_up_is_kept_by_nobody(tmp_path: Path, name: str) -> None:
    repository = bare(tmp_path)
    repository.git("update-ref", "refs/heads/main", repository.commit())
    handle = Handles(Formats()).of(repository)
    assert handle is not None
    name = name.encode().decode()  # a string of its own
    before = sys.getrefcount(name)
    for _ in range(10):
        with suppress(KeyError, pygit2.InvalidSpecError):
            lookup_reference(handle, name)
    assert sys.getrefcount(name) == before
