"""packaging/prometheus: the rules are right, do what they say, and name what a node has."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.names import listed
from tests.monitoring.promql import faults, labels_of, metrics_in

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "packaging/prometheus").glob("*.rules.yml"))
TESTS = sorted(Path(__file__).parent.glob("rules_*test.yml"))


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
OF_NODES = {**listed(), "up": ("gauge",)}
KNOWN = OF_NODES | {
    name: ("gauge", *labels_of(expression, OF_NODES)) for name, expression in RECORDED.items()
}


def promtool(*arguments: object) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; on Debian: apt-get install prometheus")
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    said = promtool("check", "rules", *RULES)
    assert f"{len(ALERTS)} rules found" in said
    assert f"{len(RECORDED)} rules found" in said


def test_the_rules_do_what_they_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", *TESTS)


def test_every_alert_is_seen_to_fire_by_a_test() -> None:
    fired = {
        case["alertname"]
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert fired == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_what_a_node_has(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"], KNOWN) == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_has_happened(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert sorted(alert["annotations"]) == ["description", "summary"]
    page = (ROOT / "docs/monitoring.md").read_text()
    assert f"| `{alert['alert']}` |" in page, "say there what to do about it"


def test_the_page_knows_no_other_alerts() -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    assert set(re.findall(r"^\| `(Gitaly\w+)` \|", page, re.MULTILINE)) == {
        alert["alert"] for alert in ALERTS
    }


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('sum by (x) (rate(gitaly_a_total{x="rate(gitaly_b)"}[5m])) > 0', {"gitaly_a_total"}),
        ("gitaly_a:b:c or (d unless on (x) e) and f offset 5m", {"gitaly_a:b:c", "d", "e", "f"}),
    ],
)
def test_metrics_are_found_in_expressions(expression: str, found: set[str]) -> None:
    assert metrics_in(expression) == found


def test_names_that_no_node_has_are_found() -> None:
    known = {"a_total": ("counter", "x"), "h": ("histogram",)}
    assert faults("rate(a_total[5m]) / rate(h_sum[5m])", known) == []
    assert faults("rate(b_total[5m])", known) == ["no metric b_total"]
    assert faults("rate(h[5m]) + rate(a_total_sum[5m])", known) == ["no metric a_total_sum"]
    assert faults('a_total{y="1"}', known) == ["no label y of a_total"]
    assert faults("sum by (y) (a_total)", known) == ["no label y of these"]
    assert faults("sum by (x) (a_total)", known, legend="{{x}} {{z}}") == [
        "no label z for the legend"
    ]
