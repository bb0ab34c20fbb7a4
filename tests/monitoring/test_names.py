"""The metrics of a node are an interface: none goes, and none changes its labels, by accident."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from tests.e2e.metrics_page import MetricsPage
from tests.faults.conftest import tmp_path as tmp_path
from tests.monitoring.busy_node import busy_node
from tests.monitoring.names import LIST, complaints, described, line, listed, needs_groups

OURS = {"gitaly_a_total": ("counter", "x"), "gitaly_b": ("gauge",)}


async def test_the_metrics_of_a_node_are_those_of_the_list(tmp_path: Path) -> None:
    promised = listed()
    async with busy_node(tmp_path) as busy:
        found = described(busy.node.served.node.registry)
        page = MetricsPage(busy.port).reading()
        if not busy.has_groups:
            promised = {name: rest for name, rest in promised.items() if not needs_groups(name)}
    assert complaints(promised, found) == []
    for family in page.families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kind, *labels = found[name]
        assert family.type == kind, name
        for sample in family.samples:
            assert sorted(sample.labels.keys() - {"le"}) == labels, sample.name
    empty = {family.name for family in page.families if not family.samples}
    assert len(empty) < len(page.families) / 4, "the work of the test should reach most of them"


def test_the_list_is_in_order_and_names_each_metric_once() -> None:
    lines = [text for text in LIST.read_text().splitlines() if not text.startswith("#")]
    assert lines == sorted(lines)
    assert lines == [line(*item) for item in listed().items()]


def test_what_has_gone_come_or_changed_is_told_with_what_to_do() -> None:
    found = {"gitaly_a_total": ("counter", "x", "y"), "gitaly_c": ("gauge",)}
    assert complaints(OURS, OURS) == []
    assert complaints(OURS, found) == [
        "gitaly_a_total has changed from (counter x) to (counter x y)",
        "gitaly_b is gone: dashboards and alerts that use it show nothing",
        "gitaly_c is new: add it with python -m tests.monitoring.names",
    ]


def test_a_metric_is_described_before_its_first_series() -> None:
    registry = CollectorRegistry()
    Counter("gitaly_a_total", "help", ["x"], registry=registry)
    assert described(registry) == {"gitaly_a_total": ("counter", "x")}
