"""docs/archive-cache.md: its configuration loads, its metrics exist, its queries ask for them."""

import re
from pathlib import Path

import pytest

from gitaly.config import load_text, problems
from tests.monitoring.names import listed
from tests.monitoring.promql import faults

PAGE = (Path(__file__).parents[1] / "docs/archive-cache.md").read_text()
QUERIES = re.findall(r"```promql\n(.+?)\n```", PAGE, re.DOTALL)
NODE = 'socket_path = "/s"\n[[storage]]\nname = "default"\npath = "/"\n'


def test_the_configuration_of_the_page_is_right() -> None:
    text = PAGE.partition("```toml\n")[2].partition("```")[0]
    config = load_text(NODE + text)
    assert config.archive_cache.enabled
    assert config.archive_cache.max_bytes == 20_000_000_000
    assert config.origin.unknown_keys == ()
    assert "archive_cache" not in {problem.key[0] for problem in problems(config)}


def test_the_page_names_every_metric_of_the_cache() -> None:
    named = set(re.findall(r"`(gitaly_archive_\w+)", PAGE))
    assert named == {name for name in listed() if name.startswith("gitaly_archive_")}


@pytest.mark.parametrize("query", QUERIES)
def test_the_queries_of_the_page_ask_for_what_there_is(query: str) -> None:
    assert faults(query, listed()) == []
