from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from gitaly.git import (
    Git,
    GitReferences,
    InvalidArgument,
    ListedReference,
    ListingFailed,
    ReferenceQuery,
    SortKey,
)
from tests.git.support import Bare, bare


@pytest.fixture
async def references(git: Git) -> AsyncIterator[GitReferences]:
    yield GitReferences(git)


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    return bare(tmp_path)


async def listed(
    references: GitReferences, repository: Bare, *patterns: bytes, **more: object
) -> list[ListedReference]:
    query = ReferenceQuery(patterns=patterns, **more)  # type: ignore[arg-type]  # its fields
    return [one async for batch in references.list(repository, query) for one in batch]


async def names(
    references: GitReferences, repository: Bare, *patterns: bytes, **more: object
) -> list[bytes]:
    return [one.name for one in await listed(references, repository, *patterns, **more)]


async def test_references_are_listed_with_their_targets(
    references: GitReferences, repository: Bare
) -> None:
    commit = repository.commit()
    repository.git("update-ref", "refs/heads/main", commit)
    repository.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    repository.git("update-ref", "refs/tags/t", commit)
    assert await listed(references, repository, b"refs/heads/") == [
        ListedReference(b"refs/heads/alias", commit),
        ListedReference(b"refs/heads/main", commit),
    ]
    assert await listed(references, repository, b"refs/nothing/") == []


async def test_tags_are_peeled_through_all_tags(
    references: GitReferences, repository: Bare
) -> None:
    commit = repository.commit()
    repository.git("update-ref", "refs/heads/main", commit)
    for name, target in (("a", commit), ("b", "a"), ("c", "b"), ("d", f"{commit}^{{tree}}")):
        repository.git("tag", "-a", "-m", name, name, target)
    found = await listed(references, repository, b"refs/", peel_tags=True)
    tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert [(one.name, one.peeled_target) for one in found] == [
        (b"refs/heads/main", ""),
        (b"refs/tags/a", commit),
        (b"refs/tags/b", commit),
        (b"refs/tags/c", commit),
        (b"refs/tags/d", tree),
    ]


@pytest.mark.parametrize(
    ("exclude", "more", "expected"),
    [
        ([b"refs/heads/b"], {}, [b"B/z", b"a/x", b"main"]),
        ([b"refs/heads/b/"], {}, [b"B/z", b"a/x", b"main"]),
        ([b"refs/heads/b/*"], {"ignore_case": True}, [b"a/x", b"main"]),
        ([b"refs/heads/m*", b"refs/heads/?/x"], {}, [b"B/z", b"b/y"]),
        ([b"refs/heads/ma"], {}, [b"B/z", b"a/x", b"b/x", b"b/y", b"main"]),
        ([b"refs/"], {}, []),
        ([b"refs/heads/a/x"], {"descending": True}, [b"main", b"b/y", b"b/x", b"B/z"]),
    ],
)
async def test_what_is_excluded_is_left_out_as_git_matches(
    references: GitReferences,
    repository: Bare,
    exclude: list[bytes],
    more: dict[str, object],
    expected: list[bytes],
) -> None:
    commit = repository.commit()
    for name in ("a/x", "b/x", "b/y", "B/z", "main"):
        repository.git("update-ref", f"refs/heads/{name}", commit)
    found = await names(references, repository, b"refs/heads/", exclude=exclude, **more)
    assert [name.removeprefix(b"refs/heads/") for name in found] == expected


async def test_references_are_sorted_by_dates(references: GitReferences, repository: Bare) -> None:
    tree = repository.git("mktree")
    for name, date in (("young", "1800000000"), ("old", "1600000000")):
        env = {"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"}
        commit = repository.git("commit-tree", "-m", name, tree, env=env)
        repository.git("update-ref", f"refs/heads/{name}", commit)
    for key in (SortKey.AUTHOR_DATE, SortKey.COMMITTER_DATE, SortKey.CREATOR_DATE):
        assert await names(references, repository, b"refs/heads", sort_key=key) == [
            b"refs/heads/old",
            b"refs/heads/young",
        ]
    assert await names(
        references, repository, b"refs/heads", sort_key=SortKey.AUTHOR_DATE, descending=True
    ) == [b"refs/heads/young", b"refs/heads/old"]


async def test_only_what_points_at_an_object_is_listed(
    references: GitReferences, repository: Bare
) -> None:
    one, two = repository.commit("one"), repository.commit("two")
    repository.git("update-ref", "refs/heads/one", one)
    repository.git("update-ref", "refs/heads/two", two)
    found = await names(references, repository, b"refs/", points_at=[two.encode()])
    assert found == [b"refs/heads/two"]


async def test_a_failing_git_tells_its_exit_code(
    references: GitReferences, repository: Bare
) -> None:
    with pytest.raises(ListingFailed) as caught:
        await listed(references, repository, b"refs/", points_at=[b"nonsense"])
    assert caught.value.message == "listing failed with exit code 129"


async def test_patterns_are_never_options(references: GitReferences, repository: Bare) -> None:
    with pytest.raises(InvalidArgument, match="cannot start with dash"):
        await listed(references, repository, b"--shell")


async def test_a_list_that_nobody_reads_to_its_end_leaves_no_git_behind(
    references: GitReferences, repository: Bare
) -> None:
    """The fixture of `git` counts children and descriptors at its end."""
    commit = repository.commit()
    repository.git(
        "update-ref", "--stdin",
        data="".join(f"create refs/heads/b{n:06} {commit}\n" for n in range(20000)),
    )  # fmt: skip
    query = ReferenceQuery(patterns=[b"refs/"])
    async with aclosing(references.list(repository, query)) as batches:
        async for batch in batches:
            assert batch[0].name == b"refs/heads/b000000"
            break
