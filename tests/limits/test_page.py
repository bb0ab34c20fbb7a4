"""The page about limits: its configurations load, its metrics exist."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from gitaly.config import load_text, problems
from gitaly.limits import AdaptiveMetrics, LimitMetrics

PAGE = (Path(__file__).parents[2] / "docs/concurrency.md").read_text()


def test_every_configuration_of_the_page_is_a_good_one() -> None:
    found = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 2
    for text in found:
        config = load_text(text)
        assert config.origin.unknown_keys == ()
        assert [p for p in problems(config) if p.key[:1] == ("concurrency",)] == []


def test_every_metric_of_the_page_exists() -> None:
    registry = CollectorRegistry()
    LimitMetrics(registry, [1.0])
    AdaptiveMetrics(registry)
    exist = set()
    for family in registry.collect():
        exist |= {family.name, f"{family.name}_total"}
    rows = re.findall(r"^\| (`gitaly_\w+`(?:, `gitaly_\w+`)*) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named - exist == {"gitaly_loadshedder_rpcs_shed_total"}  # where load is shed only
