"""One walk finds for each entry what `git log -1` finds."""

import random
from pathlib import Path

import pytest

from gitaly.git import Git, GitFailed
from gitaly.git.entry_history import Change, ChangeParser, last_commits
from tests.git.support import Bare, bare


def history(repository: Bare, seed: int) -> None:
    """Branches, merges (evil ones and octopuses), reverts, and clocks that go wrong."""
    rng = random.Random(seed)
    names = ["a", "b", "dir/c", "dir/sub/d", "dir/sub/e", "dir/f", "x y", ":colon", "*"]
    stream: list[str] = []
    trees: list[dict[str, str]] = []  # by mark

    def commit(parents: list[int], tree: dict[str, str]) -> None:
        trees.append(tree)
        when = 1_700_000_000 + len(trees) * 60 + rng.choice([0, 0, 0, -5000, 5000])
        stream.append(f"commit refs/heads/main\nmark :{len(trees)}\n")
        stream.append(f"committer J <j@example.com> {when} +0000\ndata 1\nx\n")
        if parents:
            stream.append(f"from :{parents[0]}\n")
            stream.extend(f"merge :{parent}\n" for parent in parents[1:])
        stream.append("deleteall\n")
        for path, text in tree.items():
            stream.append(f"M 100644 inline {path}\ndata {len(text)}\n{text}\n")
        stream.append("\n")

    commit([], dict.fromkeys(names, "0"))
    for _ in range(60):
        count = rng.choice([1, 1, 1, 2, 2, 3])
        recent = range(max(1, len(trees) - 6), len(trees) + 1)
        parents = rng.sample(recent, min(count, len(recent)))
        tree = dict(trees[parents[0] - 1])
        for parent in parents[1:]:  # from each parent something
            other = trees[parent - 1]
            tree |= {name: other[name] for name in names if name in other and rng.random() < 0.5}
        for name in names:
            if rng.random() < (0.1 if len(parents) == 1 else 0.03):
                tree[name] = str(rng.randrange(3))  # also back to what it was
        commit(parents, tree)
    repository.git("fast-import", "--quiet", "--force", data="".join(stream))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("has_graph", [False, True])
@pytest.mark.parametrize("together", [3, 300])
@pytest.mark.parametrize("directory", ["", "dir/", "dir/sub/"])
async def test_each_entry_gets_what_a_log_of_its_own_would_find(
    git: Git,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    has_graph: bool,
    together: int,
    directory: str,
) -> None:
    monkeypatch.setattr("gitaly.git.entry_history.COMMITS_TOGETHER", together)
    repository = bare(tmp_path)
    history(repository, seed)
    if has_graph:
        repository.git("commit-graph", "write", "--reachable", "--changed-paths")
    listed = repository.git("ls-tree", "-z", "--name-only", "main", directory or ".")
    entries = [name for name in listed.split("\0") if name]
    expected = {
        name.encode(): repository.git(
            "--literal-pathspecs", "log", "-1", "--format=%H", "main", "--", name
        ).encode()
        for name in entries
    }
    paths = [name.encode() for name in entries]
    found = await last_commits(git, repository, b"main", paths, directory.encode())
    assert found == expected


async def test_more_entries_than_pathspecs_are_found_through_their_directory(
    git: Git, tmp_path: Path
) -> None:
    repository = bare(tmp_path)
    blob = repository.git("hash-object", "-w", "--stdin", data="x")
    ids: list[str] = []
    for count in (50, 100):
        lines = "".join(f"100644 blob {blob}\tf{number:03}\n" for number in range(count))
        tree = repository.git(
            "mktree", data=f"040000 tree {repository.git('mktree', data=lines)}\td\n"
        )
        ids.append(repository.git("commit-tree", "-m", "x", *(["-p", ids[0]] if ids else []), tree))
    paths = [b"d/f%03d" % number for number in range(100)]
    found = await last_commits(git, repository, ids[1].encode(), paths, b"d/")
    assert [found[path].decode() for path in paths] == [ids[0]] * 50 + [ids[1]] * 50


async def test_a_revision_that_leads_nowhere_is_gits_error(git: Git, tmp_path: Path) -> None:
    with pytest.raises(GitFailed):
        await last_commits(git, bare(tmp_path), b"none", [b"a"], b"")


TOKENS = [
    b"commit m p q (from p)\nMerge: p q\n\n    :subject\n\n:1 1 a b M",
    b"dir/one",
    b":1 1 c d M",
    b"commit path",
    b"",
    b"commit q\nAuthor: x\n\n    commit z y\n",
    b"commit p\nAuthor: x\n\n    s\n\n:0 1 0 a A",
    b"dir/one",
]
CHANGES = [
    Change(b"m", [b"p", b"q"], b"p", [b"dir/one", b"commit path"]),
    Change(b"q", [], None, []),
    Change(b"p", [], None, [b"dir/one"]),
]


@pytest.mark.parametrize("cut", range(len(TOKENS) + 1))
def test_changes_do_not_depend_on_how_many_tokens_come_at_once(cut: int) -> None:
    parser = ChangeParser()
    found = [*parser.receive(TOKENS[:cut]), *parser.receive(TOKENS[cut:]), *parser.finish()]
    assert found == CHANGES
