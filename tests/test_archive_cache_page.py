"""docs/archive-cache.md: its configuration loads, its metrics exist, its queries answer."""

import asyncio
import re
from pathlib import Path

import pytest

from gitaly._pb.repository_pb2 import GetArchiveRequest
from gitaly.config import load_text, problems
from tests.faults.conftest import tmp_path as tmp_path
from tests.monitoring.names import listed
from tests.monitoring.prometheus import prometheus
from tests.services.node_under_test import A, a_node_with_a_repository

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


async def test_the_queries_of_the_page_answer(tmp_path: Path) -> None:
    extra = 'prometheus_listen_addr = "127.0.0.1:0"\n[archive_cache]\nenabled = true\n'
    async with a_node_with_a_repository(tmp_path, extra) as node:
        port = node.served.node.metrics_port
        assert port is not None
        async with prometheus(tmp_path, port) as asked:
            counted = "sum(gitaly_archive_cache_lookups_total)"
            await asked.until(counted, 0)
            request = GetArchiveRequest(repository=A, commit_id=node.commit)
            for _ in range(4):
                assert (await node.ask("GetArchive", request)).code == "OK"
            await asked.until(counted, 4)
            answers = [await asyncio.to_thread(asked.ask, query) for query in QUERIES]
            (ratio,), (unkept,) = answers
            assert ratio == pytest.approx(3 / 4, rel=0.01)
            assert unkept == 0
