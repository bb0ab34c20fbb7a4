"""docs/rotation.md: its procedure is followed with its configurations, and its queries asked."""

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any

from gitaly.config import load_text
from gitaly.rpc import AuthPolicy
from gitaly.rpc.bearer import Reason
from tests.e2e.callers import Caller, after_more_calls, calling
from tests.e2e.node_process import BIN, NodeProcess
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import Served, a_node
from tests.monitoring.prometheus import Prometheus, prometheus

PAGE = (Path(__file__).parents[1] / "docs/rotation.md").read_text()
GUIDE, NOT_ENFORCED, USES, LAST_USED, REFUSED = (
    " ".join(query.split()) for query in re.findall(r"```promql\n(.+?)```", PAGE, re.DOTALL)
)
BEGINNING, BOTH = re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL)
OLD, NEW = b"the old token", b"the new token"
SOON = "[1500ms]"  # the page's windows are minutes long


def policy(text: str) -> AuthPolicy:
    auth = load_text(text).auth
    secrets = tuple(secret.encode() for secret in auth.secrets)
    return AuthPolicy(secrets=secrets, transitioning=auth.transitioning)


def reload(served: Served, text: str) -> None:
    served.node.authenticator.adopt(policy(text))


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


async def test_the_procedures_of_the_page_in_their_order(tmp_path: Path) -> None:
    top = 'prometheus_listen_addr = "127.0.0.1:0"'
    rails, sidekiq = Caller(lambda: None), Caller(lambda: None)
    async with a_node(tmp_path, extra=top) as served:
        port, target = served.node.metrics_port, f"127.0.0.1:{served.node.port('tcp')}"
        assert port is not None
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
            reload(served, BEGINNING)
            rails.takes(OLD)
            await operator.sees(now, ("false", "would be ok"), ("false", "unauthenticated"))
            sidekiq.takes(OLD)
            await operator.sees(now, ("false", "would be ok"))

            # enforced
            reload(served, BEGINNING.replace("transitioning = true", ""))
            await operator.sees(now, ("true", "ok"))
            assert await asyncio.to_thread(asked.results, NOT_ENFORCED) == []

            # both tokens, and the clients change
            reload(served, BOTH)
            rails.takes(NEW)
            assert {"b62c", "f3f4"} == set(served.node.authenticator.accepted)
            await operator.sees(USES.replace("[1h]", SOON), *of(port, "b62c", "f3f4"))
            sidekiq.takes(NEW)
            await operator.sees(USES.replace("[1h]", SOON), *of(port, "b62c"))
            [seconds] = (await operator.sees(LAST_USED, last_used(port))).values()
            assert 0 < seconds < 120
            await operator.sees(now, ("true", "ok"))

            # the new one alone; somebody was forgotten
            reload(served, BOTH.replace(', "the old token"', ""))
            await after_more_calls([rails, sidekiq], 2)
            assert set(rails.answers + sidekiq.answers) == {"OK"}
            backup = Caller.holding(OLD)
            async with calling(target, [backup], 20):
                soon = REFUSED.replace("[5m]", SOON)
                await operator.sees(soon, ("true", "withdrawn secret"))
            assert set(backup.answers) == {"PERMISSION_DENIED"}
            assert await operator.rows(REFUSED) != {}
            refused = [x for x in served.lines() if x["msg"] == "a call was refused"]
            assert {line["reason"] for line in refused} == {"withdrawn secret"}
            assert refused[0]["peer.address"].startswith("127.0.0.1:")


def last_used(port: int) -> tuple[str, ...]:
    return f"127.0.0.1:{port}", "gitaly", "2", "f3f4"  # instance, job, position, token


def of(port: int, *tokens: str) -> list[tuple[str, ...]]:
    return [(f"127.0.0.1:{port}", token) for token in tokens]


def test_the_node_answers_auth_test_as_the_page_shows(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path, extra=BOTH)
    node.start()
    example = PAGE.partition("```console\n$ ")[2].partition("```")[0]
    command, _, expected = example.partition("\n")
    done = subprocess.run(
        [BIN / command.split()[0], *command.split()[1:]],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    node.stop()

    def plain(text: str) -> str:
        text = text.replace(str(node.socket), "/run/gitaly/gitaly.socket")
        return re.sub(r"\d+\.\d{3} s( (ahead of|behind))?", "N s", text)

    assert plain(done.stdout) == plain(expected)


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
