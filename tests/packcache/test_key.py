"""Under what a pack is kept: what can change it is in the key, and what cannot is not."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gitaly.packcache import PackCommand
from gitaly.packcache.key import key_of, normalized
from tests.git.support import Bare, bare

A, B, C = (f"{letter * 40}\n".encode() for letter in "abc")
LONG = ("d" * 64 + "\n").encode()
COMMAND = PackCommand(["--revs", "--thin"])
INPUT = A + B + b"--not\n" + C + b"\n"


@pytest.mark.parametrize(
    "same",
    [
        B + A + b"--not\n" + C + b"\n",
        A + A + B + b"--not\n" + C + C + b"\n",
        A + B + b"--not\n" + C,
        A + B + b"--not\n" + C.rstrip(),
    ],
)
def test_order_and_repetition_do_not_count(same: bytes) -> None:
    assert normalized(same) == normalized(INPUT)


@pytest.mark.parametrize(
    "other",
    [
        A + b"--not\n" + C + b"\n",
        A + B + C + b"--not\n\n",
        A + b"--not\n" + B + C + b"\n",
        A + B + b"--not\n" + C + b"--not\n" + C,
        b"--shallow " + A + INPUT,
        b"--shallow " + B + INPUT,
        LONG + INPUT,
        A + B + b"--not\n" + C + b"\nmain\n",
        b"refs/heads/main\n" + INPUT,
        b"^" + INPUT,
        b"",
    ],
)
def test_other_requests_have_other_keys(other: bytes) -> None:
    assert normalized(other) != normalized(INPUT)


def test_lines_that_are_no_list_of_objects_keep_their_order() -> None:
    assert normalized(b"main\n" + A) != normalized(A + b"main\n")
    assert normalized(b"as it is:x") != normalized(b"x")


def test_shallow_lines_may_stand_in_any_order() -> None:
    one, two = b"--shallow " + A, b"--shallow " + B
    assert normalized(one + two + INPUT) == normalized(A + two + B + one + b"--not\n" + C)


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    return bare(tmp_path)


def key(repository: Bare, **changed: object) -> str | None:
    command = changed.get("command", COMMAND)
    assert isinstance(command, PackCommand)
    return key_of(repository, str(changed.get("object_format", "sha1")), command, INPUT)


def test_a_key_stays_while_nothing_changes(repository: Bare) -> None:
    first = key(repository)
    repository.git("update-ref", "refs/heads/main", repository.commit())
    assert key(repository) == first
    assert first is not None
    assert len(first) == 64


def test_flags_are_in_the_key(repository: Bare) -> None:
    commands = [
        COMMAND,
        PackCommand(["--revs"]),
        PackCommand(["--revs", "--thin", "--filter=blob:none"]),
        PackCommand(["--revs", "--thin", "--shallow"]),
        PackCommand(["--revs", "--thin"], has_shallow_file=True),
        PackCommand(["--revs", "--thin", "--progress"]),
    ]
    assert len({key(repository, command=command) for command in commands}) == len(commands)


def test_what_is_not_repeatable_has_no_key(repository: Bare) -> None:
    assert key(repository, command=PackCommand(["--revs", "--all"])) is None


def test_object_format_and_quarantine_are_in_the_key(repository: Bare) -> None:
    keys = {
        key(repository),
        key(repository, object_format="sha256"),
        key(replace(repository, git_object_directory="objects/incoming-1")),
        key(replace(repository, git_alternate_object_directories=("objects",))),
    }
    assert len(keys) == 4


def test_a_repository_that_is_made_anew_has_other_keys(repository: Bare, tmp_path: Path) -> None:
    before = key(repository)
    shutil.rmtree(repository.path)
    assert bare(tmp_path) == repository
    assert key(repository) != before


def test_a_repository_that_is_swapped_has_other_keys(repository: Bare, tmp_path: Path) -> None:
    before = key(repository)
    (tmp_path / "other").mkdir()
    other = bare(tmp_path / "other")
    os.rename(repository.path, tmp_path / "away")
    os.rename(other.path, repository.path)
    assert key(repository) != before


@pytest.mark.parametrize("name", ["shallow", "info/grafts", "objects/info/alternates"])
def test_files_that_change_history_or_objects_are_in_the_key(repository: Bare, name: str) -> None:
    before = key(repository)
    path = Path(repository.path, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{'a' * 40}\n")
    assert key(repository) != before


def test_a_changed_configuration_has_other_keys(repository: Bare) -> None:
    before = key(repository)
    repository.git("config", "pack.compression", "0")
    assert key(repository) != before


def test_alternates_are_known_by_what_they_are(repository: Bare, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    bare(pool)
    alternates = Path(repository.path, "objects/info/alternates")
    alternates.write_text(f"# a comment\n\n{pool}/a.git/objects\n")
    before = key(repository)
    assert key(repository) == before
    shutil.rmtree(pool / "a.git")
    bare(pool)
    assert key(repository) != before


def test_alternates_of_alternates_count(repository: Bare, tmp_path: Path) -> None:
    for name in ("pool", "deep"):
        (tmp_path / name).mkdir()
        bare(tmp_path / name)
    Path(repository.path, "objects/info/alternates").write_text(f"{tmp_path}/pool/a.git/objects\n")
    before = key(repository)
    of_pool = tmp_path / "pool/a.git/objects/info/alternates"
    of_pool.write_text("../../../deep/a.git/objects\n")
    with_deep = key(repository)
    assert with_deep != before
    of_deep = tmp_path / "deep/a.git/objects/info/alternates"
    of_deep.write_text(f"{repository.path}/objects\n")  # a circle
    assert key(repository) not in (before, with_deep)
