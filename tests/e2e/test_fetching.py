"""What git can leave out of a fetch."""

from pathlib import Path

import pytest

from tests.e2e.clients import Way, commit, finished, is_sound, run_git
from tests.e2e.conftest import make_bare
from tests.e2e.node_process import NodeProcess


def count(repository: Path, *revisions: str) -> int:
    return int(run_git("rev-list", "--count", *revisions, cwd=repository))


def test_a_shallow_clone_has_only_the_newest_commits(demo: Way, tmp_path: Path) -> None:
    copy = demo.clone(tmp_path / "copy", "--depth=1")
    assert count(copy, "HEAD") == 1
    demo.git("fetch", "--quiet", "--deepen=1", "origin", cwd=copy)
    assert count(copy, "HEAD") == 2
    demo.git("fetch", "--quiet", "--unshallow", "origin", cwd=copy)
    assert count(copy, "HEAD") == 3
    assert is_sound(copy)


def test_a_shallow_clone_may_be_cut_at_a_time(node: NodeProcess, name: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run_git("init", "--quiet", "--initial-branch=main", str(work))
    for year in (2001, 2011, 2021):
        flags = ("--allow-empty", "--quiet", f"--message={year}")
        way = Way(node=node, extra={"GIT_COMMITTER_DATE": f"{year}-06-01T00:00:00Z"})
        way.git("commit", *flags, cwd=work)
    make_bare(node, name, source=work)
    copy = Way(node=node, repository=name).clone(tmp_path / "copy", "--shallow-since=2010-01-01")
    assert run_git("log", "--format=%s", cwd=copy) == "2021\n2011"


@pytest.mark.parametrize("version", [0, 2])
def test_a_partial_clone_fetches_content_when_it_is_needed(
    node: NodeProcess, name: str, work: Path, tmp_path: Path, version: int
) -> None:
    make_bare(node, name, source=work)
    way = Way(node=node, repository=name, version=version)
    copy = way.clone(tmp_path / "copy", "--filter=blob:none", "--no-checkout")
    missing = run_git("rev-list", "--objects", "--missing=print", "main", cwd=copy)
    assert sum(line.startswith("?") for line in missing.splitlines()) == 3
    way.git("checkout", "--quiet", "main", cwd=copy)
    assert (copy / "file").read_text() == "three\n"
    assert is_sound(copy)


def test_a_single_branch_can_be_cloned(demo: Way, work: Path, tmp_path: Path) -> None:
    run_git("checkout", "--quiet", "-b", "side", "main~1", cwd=work)
    commit(work, "aside")
    demo.git("push", "--quiet", demo.url, "side", cwd=work)
    copy = demo.clone(tmp_path / "copy", "--single-branch", "--branch=side", "--no-tags")
    assert run_git("for-each-ref", "--format=%(refname)", "refs/remotes", cwd=copy) == (
        "refs/remotes/origin/side"
    )
    assert run_git("tag", cwd=copy) == ""


def test_a_deleted_branch_is_pruned(demo: Way, work: Path, tmp_path: Path) -> None:
    demo.git("push", "--quiet", demo.url, "main:gone", cwd=work)
    copy = demo.clone(tmp_path / "copy")
    demo.git("push", "--quiet", demo.url, ":gone", cwd=work)
    demo.git("fetch", "--quiet", "--prune", "origin", cwd=copy)
    assert "origin/gone" not in run_git("branch", "--remotes", cwd=copy)


@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_six_clones_at_once_all_get_everything(
    node: NodeProcess, name: str, big: Path, tmp_path: Path, program: str
) -> None:
    make_bare(node, name, source=big)
    way = Way(node=node, program=program, repository=name)
    copies = [tmp_path / f"copy{number}.git" for number in range(6)]
    clones = [way.start("clone", "--bare", "--quiet", way.url, str(copy)) for copy in copies]
    answers = [finished(clone) for clone in clones]
    assert [answer.code for answer in answers] == [0] * 6, answers
    head = run_git("rev-parse", "main", cwd=big)
    assert {run_git("rev-parse", "main", cwd=copy) for copy in copies} == {head}
    assert is_sound(copies[0])


def test_hidden_refs_are_for_other_nodes_only(node: NodeProcess, name: str, work: Path) -> None:
    path = make_bare(node, name, source=work)
    run_git("update-ref", "refs/keep-around/1", "main", cwd=path)
    run_git("update-ref", "refs/tmp/1", "main", cwd=path)
    user = Way(node=node, repository=name)
    other_node = Way(node=node, repository=name, program="ssh")
    assert "refs/keep-around/1" not in user.git("ls-remote", user.url)
    assert "refs/tmp/1" not in user.git("ls-remote", user.url)
    assert "refs/keep-around/1" in other_node.git("ls-remote", other_node.url)
    assert "refs/tmp/1" in other_node.git("ls-remote", other_node.url)
