"""docs/monitoring.md and docs/troubleshooting.md: commands run, messages and metrics exist."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.storage import Problem
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import BIN, NodeProcess
from tests.monitoring.names import listed
from tests.monitoring.promql import family_of
from tests.monitoring.test_rules import RULES, promtool

ROOT = Path(__file__).parents[2]
PAGES = {
    name: (ROOT / "docs" / name).read_text() for name in ("monitoring.md", "troubleshooting.md")
}
BLOCKS = [
    (name, block)
    for name, page in PAGES.items()
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    if "promtool" not in block  # test_the_settings_of_prometheus_are_right runs that one
]
PORT = "127.0.0.1:9236"
STORAGE = "/var/lib/gitaly/repositories"
# Words of git, and of the system; tests/e2e/test_broken_storages.py sees them at a node.
NOT_OURS = (
    "No space left on device",
    "Read-only file system",
    "unpacker error",
    "permission denied",
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, MetricsPage]]:
    page = MetricsPage()
    node = NodeProcess(tmp_path_factory.mktemp("n"), top=page.configuration)
    node.start()
    yield node, page
    node.stop()


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[f"{n}: {b[:30]}" for n, b in BLOCKS])
def test_the_commands_on_the_pages_work(
    node: tuple[NodeProcess, MetricsPage], name: str, block: str
) -> None:
    if "curl" in block and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    process, page = node
    (process.directory / "gitaly.log").write_text(process.log())
    block = block.replace(PORT, f"127.0.0.1:{page.port}").replace(STORAGE, str(process.storage))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=process.directory,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_the_settings_of_prometheus_are_right(tmp_path: Path) -> None:
    assert "promtool check config prometheus.yml" in PAGES["monitoring.md"]
    (settings,) = re.findall(r"```yaml\n(.*?)```", PAGES["monitoring.md"], re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(settings)
    for path in RULES:
        shutil.copy(path, tmp_path)
    said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert "SUCCESS: 2 rule files found" in said


@pytest.fixture(scope="module")
def sayings() -> str:
    """All text that the node can say, with "…" for what is filled in. Not what explains it."""
    found = []
    for path in (ROOT / "gitaly").rglob("*.py"):
        if "_pb" not in path.parts:
            found += list(texts(ast.parse(path.read_text())))
    return "\n".join(found)


def texts(module: ast.Module) -> Iterator[str]:
    explanations = {
        id(part.value) for part in ast.walk(module) if isinstance(part, ast.Expr)
    }  # docstrings
    for part in ast.walk(module):
        if isinstance(part, ast.JoinedStr):
            pieces = [x.value if isinstance(x, ast.Constant) else "…" for x in part.values]
            yield "".join(map(str, pieces))
        elif isinstance(part, ast.Constant) and id(part) not in explanations:
            if isinstance(part.value, bytes):
                yield part.value.decode(errors="replace")
            elif isinstance(part.value, str):
                yield part.value


def messages() -> list[str]:
    """What the tables of troubleshooting.md quote: in the columns of what is seen."""
    found = []
    for section in PAGES["troubleshooting.md"].split("\n## ")[2:]:
        rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
        column = 2 if section.startswith("Storages") else 1
        for row in rows:
            found += re.findall(r"`([^`]+)`", row.split("|")[column])
    return [text for text in found if not text.startswith("gitaly_")]


@pytest.mark.parametrize("message", messages())
def test_the_node_says_what_the_page_says_it_does(message: str, sayings: str) -> None:
    for piece in re.split(r"…|`", message):
        for not_ours in NOT_OURS:
            piece = piece.replace(not_ours, "")
        piece = piece.strip(' ":')
        assert piece in sayings, piece


def test_the_problems_of_storages_are_all_explained() -> None:
    for name in PAGES:
        for problem in Problem:
            assert f"`{problem.value}`" in PAGES[name], (name, problem)


@pytest.mark.parametrize("name", PAGES)
def test_the_metrics_on_the_pages_exist_or_are_said_not_to(name: str) -> None:
    page, _, absent = PAGES[name].partition("These metrics of Gitaly are not here")
    known = listed()
    named = set(re.findall(r"`(gitaly_[a-z_]+|grpc_[a-z_]+|process_[a-z_]+)", page))
    assert sorted(metric for metric in named if not family_of(metric, known)) == []
    for metric in re.findall(r"`(gitaly_[a-z_]+?)_?[*`]", absent):
        assert not any(known_name.startswith(metric) for known_name in known), metric
