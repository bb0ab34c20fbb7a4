"""Many pushes at once, and pushes of many references."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.clients import finished, run_git
from tests.e2e.pushes.pushers import Pusher, said
from tests.hooks.gitlab.server import GitLabServer

History = tuple[Path, dict[str, str]]
ROUNDS = 3


def is_sound(path: Path) -> bool:
    """Apart from what the losers of a race have left in the object store."""
    lines = run_git("fsck", "--full", "--strict", "--no-progress", cwd=path).splitlines()
    return all(line.startswith("dangling ") for line in lines)


@pytest.fixture
def rivals(pusher: Pusher, tmp_path: Path) -> list[Pusher]:
    """Ten people with a commit each on top of the same one."""
    found = []
    for number in range(10):
        work = tmp_path / f"work{number}"
        run_git("clone", "--quiet", "--local", str(pusher.work), str(work))
        found.append(Pusher(node=pusher.node, work=work, relative_path=pusher.relative_path))
    return found


def test_of_ten_pushes_to_one_reference_exactly_one_wins_each_round(
    gitlab: GitLabServer, pusher: Pusher, rivals: list[Pusher]
) -> None:
    expected = pusher.references()["refs/heads/main"]
    for round_number in range(ROUNDS):
        heads: list[str] = []
        pushes: list[subprocess.Popen[bytes]] = []
        for number, rival in enumerate(rivals):
            run_git("fetch", "--quiet", str(pusher.path), "main", cwd=rival.work)
            run_git("checkout", "--quiet", "-B", "mine", expected, cwd=rival.work)
            (rival.work / "file").write_text(f"round {round_number} of {number}\n")
            run_git("commit", "--quiet", "--all", "--message=mine", cwd=rival.work)
            heads.append(run_git("rev-parse", "HEAD", cwd=rival.work))
        # All believe that main is where it is now; git lets nobody overwrite another's commit.
        lease = f"--force-with-lease=refs/heads/main:{expected}"
        pushes = [rival.start(lease, "mine:main") for rival in rivals]
        answers = [finished(push) for push in pushes]
        winners = [n for n, answer in enumerate(answers) if answer.code == 0]
        assert len(winners) == 1, [said(answer) for answer in answers]
        now = pusher.references()["refs/heads/main"]
        assert now == heads[winners[0]]
        assert run_git("rev-parse", f"{now}^", cwd=pusher.path) == expected
        expected = now
    assert pusher.left() == []
    assert is_sound(pusher.path)


def test_a_thousand_references_go_in_one_push_with_three_questions(
    gitlab: GitLabServer, pusher: Pusher, history: History, tmp_path: Path
) -> None:
    work = tmp_path / "many"
    run_git("clone", "--quiet", "--bare", str(pusher.work), str(work))
    lines = "".join(f"create refs/many/{n} {history[1]['b1']}\n" for n in range(1000))
    run_git("update-ref", "--stdin", cwd=work, data=lines.encode())
    many = Pusher(node=pusher.node, work=work, relative_path=pusher.relative_path)
    answer = many.push("--quiet", "refs/many/*:refs/heads/many/*")
    assert answer.code == 0, answer.stderr
    found = [name for name in pusher.references() if name.startswith("refs/heads/many/")]
    assert len(found) == 1000
    assert gitlab.names == ["/allowed", "/pre_receive", "/post_receive"]
    assert gitlab.calls[0].body["changes"].count("\n") == 1000
    started = [x for x in pusher.node.log().splitlines() if '"UpdateHook"' in x]
    assert [x for x in started if pusher.relative_path in x] == []
