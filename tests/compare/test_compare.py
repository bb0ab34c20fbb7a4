"""The comparison finds what differs, and nothing else; here between two nodes of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compare.__main__ import SKIPPED, main
from tests.compare.asking import differences
from tests.compare.nodes import copied, made_storage
from tests.compare.questions import compared_methods, questions
from tests.e2e.clients import run_git
from tests.e2e.node_process import BIN, NodeProcess


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return made_storage(tmp_path / "source")


def test_there_are_questions_for_every_read(storage: Path) -> None:
    asked = {question.method.name for question in questions(storage / "sha1.git", "sha1.git")}
    assert asked == set(compared_methods())


def test_a_node_differs_in_nothing_from_itself(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(str(BIN / "gitaly"), str(storage)) == 0
    assert capsys.readouterr().out.endswith("questions, 0 answers differ\n")


def test_what_differs_is_shown(storage: Path, tmp_path: Path) -> None:
    nodes = NodeProcess(tmp_path / "theirs"), NodeProcess(tmp_path / "ours")
    for node in nodes:
        copied(storage, node.storage)
        node.start()
    asked = questions(storage / "sha1.git", "sha1.git")
    run_git("update-ref", "refs/heads/topic", "main~1", cwd=nodes[1].storage / "sha1.git")
    addresses = [f"127.0.0.1:{node.tcp}" for node in nodes]
    found = list(differences(addresses[0], addresses[1], asked))
    for node in nodes:
        node.stop()
    names = {difference.question.method.name for difference in found}
    assert {"ListRefs", "FindLocalBranches", "CalculateChecksum"} <= names
    assert "FindCommit" not in names
    before = run_git("rev-parse", "topic", cwd=storage / "sha1.git")
    texts = [str(difference) for difference in found]
    assert any(f'-  target: "{before}"' in text for text in texts)


def test_without_a_reference_it_says_what_it_wants() -> None:
    environment = {**os.environ, "GITALY_REFERENCE": ""}
    command = [sys.executable, "-m", "tests.compare"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, SKIPPED + "\n")
