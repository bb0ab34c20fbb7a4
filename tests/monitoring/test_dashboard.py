"""packaging/grafana: each panel names what a node has, and shows something of one that works."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import tmp_path as tmp_path
from tests.monitoring.busy_node import busy_node
from tests.monitoring.names import listed
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.monitoring.promql import faults
from tests.monitoring.test_rules import RULES, rules

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "packaging/grafana/gitaly.json").read_text()
)
PATIENCE_SECONDS = 60
# Variables of Grafana, as it fills them in.
FILLED_IN = {"$instance": ".*", "$job": ".*", "$__rate_interval": "1m"}
# What a node that works well, without Praefect, on its first minute, has nothing to show for.
EMPTY_IF_WELL = frozenset(
    {
        "Problems",
        "Refused",
        "Calls cancelled for want of CPU",
        "Why adaptive limits went down",
        "Votes in Praefect's transactions",
        "CPU of custom hooks",
        "Pressure on memory",
        "Pressure on CPU and disk",
        "Throttled",
    }
)


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def titles() -> dict[str, list[dict[str, Any]]]:
    """The panels of each row, by its title."""
    found: dict[str, list[dict[str, Any]]] = {}
    for panel in DASHBOARD["panels"]:
        if panel["type"] == "row":
            found[panel["title"]] = []
        else:
            list(found.values())[-1].append(panel)
    return found


def filled_in(expression: str) -> str:
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_the_rows_are_the_questions_that_somebody_on_call_has() -> None:
    assert list(titles()) == [
        "Overview",
        "Calls",
        "Queues and limits",
        "Control groups",
        "Pack-objects cache",
        "Authentication",
        "Hooks and GitLab",
        "Git",
        "Storages",
        "Process",
        "Configuration and certificate",
    ]
    assert all(panels for panels in titles().values())


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_names_what_a_node_has(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        expression = filled_in(target["expr"])
        assert faults(expression, listed(), legend=target["legendFormat"]) == []
        assert '{instance=~".*"' in expression, "the choice of nodes has no effect"


def test_panels_have_names_numbers_and_places_of_their_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not places & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= taken
    for key in ("id", "title"):
        values = [panel[key] for panel in panels()]
        assert len(set(values)) == len(values)


def test_every_data_source_is_the_chosen_one() -> None:
    assert set(uids(DASHBOARD)) == {"${datasource}"}


def uids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "datasource" in value:
            yield value["datasource"]["uid"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from uids(part)


def test_what_is_expected_to_be_empty_exists() -> None:
    assert {panel["title"] for panel in panels()} >= EMPTY_IF_WELL


async def test_a_prometheus_answers_each_query_about_a_node_that_works(tmp_path: Path) -> None:
    async with (
        busy_node(tmp_path) as busy,
        prometheus(tmp_path, busy.port, rule_files=RULES) as asked,
    ):
        await asked.until("count(gitaly_storage_healthy)", 1)
        await busy.work()  # so that rates have something to show
        handled = 'grpc_server_handled_total{grpc_method="SSHReceivePack", grpc_code="OK"}'
        await asked.until(f"sum({handled})", 2)
        ends = time.monotonic() + PATIENCE_SECONDS  # until all series were scraped twice
        while empty := await asyncio.to_thread(empty_panels, asked, busy.has_groups):
            assert time.monotonic() < ends, f"these show nothing: {sorted(empty)}"
            await asyncio.sleep(1)
        for rule in rules():
            await asyncio.to_thread(asked.ask, rule["expr"])
        firing = 'ALERTS{alertstate="firing"}'
        assert await asyncio.to_thread(asked.labels, firing) == []


def empty_panels(asked: Prometheus, has_groups: bool) -> set[str]:
    """Those that show nothing, but should; each of their queries is answered."""
    allowed = set(EMPTY_IF_WELL)
    if not has_groups:
        allowed |= {panel["title"] for panel in titles()["Control groups"]}
    if not asked.ask("gitaly_cgroup_cpu_usage_total"):  # v1 with CPU time in a hierarchy apart
        allowed.add("CPU, relative")
    empty = set()
    for panel in panels():
        answers = [asked.ask(filled_in(target["expr"])) for target in panel["targets"]]
        if not any(answers) and panel["title"] not in allowed:
            empty.add(panel["title"])
    return empty
