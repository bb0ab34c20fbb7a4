"""References read from files are those that git lists, or git is asked."""

from pathlib import Path

import pytest

from gitaly.git import Git, GitReferences, Handles, InProcessReferences, ReferenceQuery, SortKey
from gitaly.git.handles import Undecided
from gitaly.git.reference_scan import LOOSE, PACKED_BYTES, PackedReferences, scanned
from tests.git.support import Bare, bare

HEADS = ReferenceQuery(patterns=[b"refs/heads"])
ALL = ReferenceQuery(patterns=[b"refs/tags/", b"refs/heads", b"refs/remotes"])

EVERYTHING = ReferenceQuery(patterns=[b"refs/"])


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    """References in both places, some of which stand in both, and nested directories."""
    repository = bare(tmp_path)
    one, two = repository.commit("one"), repository.commit("two")
    lines = [f"create refs/heads/b{n:04} {one}" for n in range(600)]
    lines += [
        f"create refs/{name} {one}" for name in ("remotes/o/m", "tags/light", "headsx/a", "keep/1")
    ]
    repository.git("update-ref", "--stdin", data="\n".join(lines) + "\n")
    repository.git("tag", "-a", "-m", "x", "v1", one)
    repository.git("pack-refs", "--all")
    for name in (
        "heads/b0300",
        "heads/a/b/c",
        "heads/\xff",
        "heads/z",
        "tags/v2",
        "tags/A",
        "stash",
    ):
        repository.git("update-ref", f"refs/{name}", two)
    repository.git("update-ref", "-d", "refs/heads/b0100")
    Path(repository.path, "refs/heads/empty/directory").mkdir(parents=True)
    Path(repository.path, "refs/heads/x.lock").write_text("")
    return repository


@pytest.mark.parametrize("query", [HEADS, ALL, EVERYTHING])
async def test_they_are_those_that_git_lists(
    git: Git, repository: Bare, query: ReferenceQuery
) -> None:
    by_git = [one async for batch in GitReferences(git).list(repository, query) for one in batch]
    assert [
        one for batch in scanned(repository.path, query, PackedReferences()) for one in batch
    ] == by_git
    assert len(by_git) > 600


def test_a_repository_without_references_has_none(tmp_path: Path) -> None:
    assert list(scanned(bare(tmp_path).path, ALL, PackedReferences())) == []


@pytest.mark.parametrize(
    "more",
    [
        {"patterns": [b"refs/keep"]},
        {"patterns": [b"HEAD"]},
        {"patterns": [b"refs/heads/b*"]},
        {"patterns": [b"refs/heads/b0001"]},
        {"exclude": [b"refs/heads/b"]},
        {"points_at": [b"HEAD"]},
        {"merged": b""},
        {"sort_key": SortKey.COMMITTER_DATE},
        {"descending": True},
        {"ignore_case": True},
        {"peel_tags": True},
    ],
)
def test_other_questions_are_gits(repository: Bare, more: dict[str, object]) -> None:
    query = ReferenceQuery(**({"patterns": [b"refs/heads"]} | more))  # type: ignore[arg-type]
    with pytest.raises(Undecided):
        scanned(repository.path, query, PackedReferences())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("refs/heads/symbolic", "ref: refs/heads/z\n"),
        ("refs/heads/broken", "nonsense\n"),
        ("refs/heads/empty-file", ""),
        ("refs/heads/zero", "0" * 40 + "\n"),
        ("refs/heads/bad name", "1" * 40 + "\n"),
        ("packed-refs", "# pack-refs with: peeled fully-peeled \n"),
        ("packed-refs", f"# pack-refs with: sorted \n{'0' * 40} refs/heads/a\n"),
        ("packed-refs", f"# pack-refs with: sorted \n{'1' * 39} refs/heads/a\n"),
        ("packed-refs", "# pack-refs with: sorted \n" + "#" * PACKED_BYTES),
        ("commondir", "../b.git\n"),
    ],
)
def test_what_is_special_is_left_to_git(repository: Bare, file: str, content: str) -> None:
    Path(repository.path, file).write_text(content)
    with pytest.raises(Undecided):
        scanned(repository.path, HEADS, PackedReferences())


async def test_symbolic_references_are_listed_all_the_same(git: Git, repository: Bare) -> None:
    repository.git("symbolic-ref", "refs/heads/symbolic", "refs/heads/z")
    by_git = GitReferences(git)
    handles = Handles(git.formats)
    found = InProcessReferences(handles, by_git).list(repository, HEADS)
    expected = [one async for batch in by_git.list(repository, HEADS) for one in batch]
    assert [one async for batch in found for one in batch] == expected
    handles.clear()


def test_many_files_are_left_to_git(tmp_path: Path) -> None:
    repository = bare(tmp_path)
    for number in range(LOOSE + 1):
        Path(repository.path, f"refs/heads/b{number}").write_text("1" * 40 + "\n")
    with pytest.raises(Undecided):
        scanned(repository.path, HEADS, PackedReferences())


def listed(repository: Bare, packed: PackedReferences) -> list[str]:
    batches = scanned(repository.path, EVERYTHING, packed)
    return [f"{one.target} {one.name.decode()}" for batch in batches for one in batch]


def as_git_lists(repository: Bare) -> list[str]:
    return repository.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()


@pytest.mark.parametrize("limit_bytes", [1, 1 << 20])
def test_what_is_known_of_packed_references_follows_every_change(
    tmp_path: Path, limit_bytes: int
) -> None:
    repository, packed = bare(tmp_path), PackedReferences(limit_bytes)
    one, two = repository.commit("one"), repository.commit("two")
    for change in (
        ("update-ref", "refs/heads/a", one),
        ("pack-refs", "--all"),
        ("update-ref", "refs/heads/b", one),
        ("update-ref", "refs/heads/a", two),
        ("pack-refs", "--all"),
        ("update-ref", "refs/heads/b", two),
        ("pack-refs", "--all"),  # the file is as long as before
        ("update-ref", "-d", "refs/heads/a"),
        ("tag", "v1", "refs/heads/b"),
        ("pack-refs", "--all"),
        ("update-ref", "-d", "refs/heads/b"),
        ("update-ref", "-d", "refs/tags/v1"),
    ):
        assert listed(repository, packed) == listed(repository, packed)
        repository.git(*change)
        assert listed(repository, packed) == as_git_lists(repository), change
    Path(repository.path, "packed-refs").unlink()
    assert listed(repository, packed) == []


def test_packed_references_that_are_known_are_not_read_again(repository: Bare) -> None:
    packed = PackedReferences()
    found = packed.below(repository.path, b"refs/heads/")
    assert len(found) == 599
    assert packed.below(repository.path, b"refs/heads/") is found
    assert packed.below(repository.path, b"refs/tags/") is not found
