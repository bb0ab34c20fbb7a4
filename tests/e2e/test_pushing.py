"""What a push can do, and what it may not."""

from pathlib import Path

import pytest

from tests.e2e.clients import Way, commit, finished, is_sound, run_git
from tests.e2e.conftest import make_bare
from tests.e2e.node_process import NodeProcess


def test_several_refs_go_in_one_push(demo: Way, work: Path) -> None:
    run_git("branch", "second", "main~1", cwd=work)
    run_git("tag", "light", "main~2", cwd=work)
    demo.git("push", "--quiet", "--atomic", demo.url, "main", "second", "light", cwd=work)
    assert set(demo.refs()) == {
        "refs/heads/main",
        "refs/heads/second",
        "refs/tags/light",
        "refs/tags/v1",
    }


def test_a_push_that_would_lose_commits_is_refused(demo: Way, work: Path) -> None:
    before = demo.refs()
    run_git("reset", "--quiet", "--hard", "main~1", cwd=work)
    commit(work, "another three")
    answer = demo.try_git("push", demo.url, "main", cwd=work)
    assert answer.code == 1
    assert "! [rejected]        main -> main" in answer.stderr
    assert demo.refs() == before


def test_the_node_refuses_what_its_configuration_forbids(demo: Way, work: Path) -> None:
    run_git("config", "receive.denyNonFastForwards", "true", cwd=demo.path)
    before = demo.refs()
    run_git("reset", "--quiet", "--hard", "main~1", cwd=work)
    answer = demo.try_git("push", "--force", demo.url, "main", cwd=work)
    assert answer.code == 1
    assert "remote: error: denying non-fast-forward refs/heads/main" in answer.stderr
    assert demo.refs() == before


def test_force_moves_a_branch_back(demo: Way, work: Path) -> None:
    run_git("reset", "--quiet", "--hard", "main~1", cwd=work)
    demo.git("push", "--quiet", "--force", demo.url, "main", cwd=work)
    assert demo.refs()["refs/heads/main"] == run_git("rev-parse", "main", cwd=work)
    assert is_sound_but_for_the_old_commit(demo.path)


def is_sound_but_for_the_old_commit(path: Path) -> bool:
    said = run_git("fsck", "--full", "--strict", "--no-progress", cwd=path).splitlines()
    return all(line.startswith("dangling commit") for line in said)


def test_a_branch_is_deleted(demo: Way, work: Path) -> None:
    demo.git("push", "--quiet", demo.url, "main:gone", cwd=work)
    demo.git("push", "--quiet", demo.url, "--delete", "gone", cwd=work)
    assert "refs/heads/gone" not in demo.refs()


def test_push_options_are_taken(demo: Way, work: Path) -> None:
    commit(work, "four")
    demo.git("push", "--quiet", "-o", "ci.skip", "-o", "x=y", demo.url, "main", cwd=work)
    assert demo.refs()["refs/heads/main"] == run_git("rev-parse", "main", cwd=work)


def test_hidden_refs_cannot_be_pushed(demo: Way, work: Path) -> None:
    answer = demo.try_git("push", demo.url, "main:refs/keep-around/x", cwd=work)
    assert answer.code == 1
    assert "deny updating a hidden ref" in answer.stderr


def test_a_damaged_object_is_refused(demo: Way, work: Path) -> None:
    tree = run_git("rev-parse", "main^{tree}", cwd=work)
    bad = b"tree %s\nauthor nobody\ncommitter nobody\n\nx\n" % tree.encode()
    written = ("hash-object", "-t", "commit", "-w", "--literally", "--stdin")
    damaged = run_git(*written, cwd=work, data=bad)
    run_git("update-ref", "refs/heads/bad", damaged, cwd=work)
    answer = demo.try_git("push", demo.url, "bad", cwd=work)
    assert answer.code == 1
    assert "missingEmail" in answer.stderr
    assert "refs/heads/bad" not in demo.refs()


@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_four_pushes_at_once_to_different_branches_all_arrive(
    node: NodeProcess, name: str, work: Path, tmp_path: Path, program: str
) -> None:
    make_bare(node, name, source=work)
    way = Way(node=node, program=program, repository=name)
    heads, pushes = [], []
    for number in range(4):
        copy = tmp_path / f"copy{number}"
        run_git("clone", "--quiet", str(work), str(copy))
        heads.append(commit(copy, f"of {number}", f"file{number}"))
        pushes.append(way.start("push", "--quiet", way.url, f"main:b{number}", cwd=copy))
    answers = [finished(push) for push in pushes]
    assert [answer.code for answer in answers] == [0] * 4, answers
    refs = way.refs()
    assert [refs[f"refs/heads/b{number}"] for number in range(4)] == heads
    assert is_sound(way.path)


@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_a_big_push_arrives(node: NodeProcess, name: str, big: Path, program: str) -> None:
    make_bare(node, name)
    way = Way(node=node, program=program, repository=name)
    way.git("push", "--quiet", way.url, "main", cwd=big)
    assert way.refs() == {"refs/heads/main": run_git("rev-parse", "main", cwd=big)}
    assert is_sound(way.path)
