"""docs/rotation.md: its procedure is followed with its configurations, and its queries asked."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitaly.rpc.bearer import Reason
from tests.e2e.callers import Caller, after_more_calls, calling
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import BIN, NodeProcess
from tests.e2e.reloading import content, reloaded, write
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import a_node
from tests.monitoring.prometheus import Prometheus, prometheus

PAGE = (Path(__file__).parents[1] / "docs/rotation.md").read_text()
GUIDE, NOT_ENFORCED, USES, LAST_USED, REFUSED = (
    " ".join(query.split()) for query in re.findall(r"```promql\n(.+?)```", PAGE, re.DOTALL)
)
BEGINNING, BOTH = re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL)
EXAMPLE = PAGE.partition("```console\n$ ")[2].partition("```")[0]
OLD, NEW = b"the old token", b"the new token"
SOON = "[1500ms]"  # the page's windows are minutes long


async def reload(node: NodeProcess, auth: str) -> None:
    """Write its file anew, with this table, and reload it as the page says."""
    before = content(node).partition("[auth]")[0]
    write(node, before + auth)
    assert "auth." in (await asyncio.to_thread(reloaded, node))["changed"]


class Operator:
    """Looks at Prometheus until it says what the page promises."""

    def __init__(self, asked: Prometheus) -> None:
        self._asked = asked

    async def rows(self, query: str) -> dict[tuple[str, ...], float]:
        """What is not zero, by the values of the labels."""
        found: list[Any] = await asyncio.to_thread(self._asked.results, query)
        rows = {
            tuple(value for _, value in sorted(row["metric"].items())): float(row["value"][1])
            for row in found
        }
        return {labels: value for labels, value in rows.items() if value}

    async def sees(self, query: str, *labels: tuple[str, ...]) -> dict[tuple[str, ...], float]:
        """Exactly these rows are not zero, now or soon."""
        async with asyncio.timeout(60):
            while True:
                rows = await self.rows(query)
                if set(rows) == set(labels):
                    return rows
                await asyncio.sleep(0.1)


@pytest.fixture
def page() -> MetricsPage:
    return MetricsPage()


@pytest.fixture
def node(tmp_path: Path, page: MetricsPage) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, top=page.configuration)
    node.start()
    yield node
    node.stop()


async def test_the_procedures_of_the_page_in_their_order(
    node: NodeProcess, page: MetricsPage, tmp_path: Path
) -> None:
    rails, sidekiq = Caller(lambda: None), Caller(lambda: None)
    port, target = page.port, f"127.0.0.1:{node.tcp}"
    async with (
        prometheus(tmp_path, port, interval="500ms") as asked,
        calling(target, [rails, sidekiq], 20),
    ):
        await asked.until("up", 1)
        operator, now = Operator(asked), GUIDE.replace("[5m]", SOON)
        await operator.sees(GUIDE, ("true", "server disabled authentication"))
        assert await operator.rows(NOT_ENFORCED) == {}  # 0 is the value that it looks for
        assert len(await asyncio.to_thread(asked.results, NOT_ENFORCED)) == 1

        # a token, and nobody is refused
        await reload(node, BEGINNING)
        rails.takes(OLD)
        await operator.sees(now, ("false", "would be ok"), ("false", "unauthenticated"))
        sidekiq.takes(OLD)
        await operator.sees(now, ("false", "would be ok"))

        # enforced
        await reload(node, BEGINNING.replace("transitioning = true", ""))
        await operator.sees(now, ("true", "ok"))
        assert await asyncio.to_thread(asked.results, NOT_ENFORCED) == []

        # both tokens, and the clients change
        await reload(node, BOTH)
        rails.takes(NEW)
        said = await asyncio.to_thread(auth_test, node)
        assert "Token b62c (config.toml): accepted\nToken f3f4 (config.toml): accepted" in said
        await operator.sees(USES.replace("[1h]", SOON), *of(port, "b62c", "f3f4"))
        sidekiq.takes(NEW)
        await operator.sees(USES.replace("[1h]", SOON), *of(port, "b62c"))
        [seconds] = (await operator.sees(LAST_USED, last_used(port))).values()
        assert 0 < seconds < 120
        await operator.sees(now, ("true", "ok"))

        # the new one alone; somebody was forgotten
        await reload(node, BOTH.replace(', "the old token"', ""))
        await after_more_calls([rails, sidekiq], 2)
        assert set(rails.answers + sidekiq.answers) == {"OK"}
        backup = Caller.holding(OLD)
        async with calling(target, [backup], 20):
            soon = REFUSED.replace("[5m]", SOON)
            await operator.sees(soon, ("true", "withdrawn secret"))
        assert set(backup.answers) == {"PERMISSION_DENIED"}
        assert await operator.rows(REFUSED) != {}
        refused = [x for x in node.lines() if x["msg"] == "a call was refused"]
        assert {line["reason"] for line in refused} == {"withdrawn secret"}
        assert refused[0]["peer.address"].startswith("127.0.0.1:")


def last_used(port: int) -> tuple[str, ...]:
    return f"127.0.0.1:{port}", "gitaly", "2", "f3f4"  # instance, job, position, token


def of(port: int, *tokens: str) -> list[tuple[str, ...]]:
    return [(f"127.0.0.1:{port}", token) for token in tokens]


async def test_the_node_answers_auth_test_as_the_page_shows(node: NodeProcess) -> None:
    await reload(node, BOTH)
    expected = EXAMPLE.partition("\n")[2]

    def plain(text: str) -> str:
        text = text.replace(str(node.socket), "/run/gitaly/gitaly.socket")
        return re.sub(r"\d+\.\d{3} s( (ahead of|behind))?", "N s", text)

    assert plain(auth_test(node)) == plain(expected)


def auth_test(node: NodeProcess) -> str:
    """What the command of the page prints."""
    command, *arguments = EXAMPLE.partition("\n")[0].split()
    done = subprocess.run(
        [BIN / command, *arguments],
        cwd=node.directory,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_the_page_explains_every_reason_and_no_other() -> None:
    table = PAGE.partition("| `reason` |")[2]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert named == [str(reason) for reason in Reason if reason in named]
    assert set(named) == {str(reason) for reason in Reason}


async def test_the_page_names_every_metric_about_tokens_and_no_other(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        families = [metric.name for metric in served.node.registry.collect()]
        counters = {m.name for m in served.node.registry.collect() if m.type == "counter"}
    own = {
        f"{name}_total" if name in counters else name
        for name in families
        if name.startswith("gitaly_authentication")
    }
    rows = re.findall(r"^\| `(gitaly_authentication\w*)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(own)
