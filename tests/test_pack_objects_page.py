"""docs/pack-objects-cache.md: its configuration loads, and its queries answer in a Prometheus."""

import asyncio
import json
import math
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.config import load_text, problems
from tests.e2e.node_process import free_port
from tests.faults.conftest import tmp_path as tmp_path
from tests.services.node_under_test import A, a_node_with_a_repository
from tests.services.packets import lines

PAGE = (Path(__file__).parents[1] / "docs/pack-objects-cache.md").read_text()
QUERIES = re.findall(r"```promql\n(.+?)\n```", PAGE, re.DOTALL)
NODE = 'socket_path = "/s"\n[[storage]]\nname = "default"\npath = "/"\n'
SETTINGS = """
global: {{scrape_interval: {interval}}}
scrape_configs:
  - job_name: gitaly
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def test_the_configuration_of_the_page_is_right() -> None:
    text = PAGE.partition("```toml\n")[2].partition("```")[0]
    config = load_text(NODE + text)
    assert config.pack_objects_cache.enabled
    assert config.pack_objects_cache.max_bytes == 50_000_000_000
    assert config.origin.unknown_keys == ()
    assert "pack_objects_cache" not in {problem.key[0] for problem in problems(config)}


class Prometheus:
    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, query: str) -> list[float]:
        """The values of what a query finds."""
        return [float(result["value"][1]) for result in self.result(query)]

    def result(self, query: str) -> list[dict[str, Any]]:
        """What a query finds: each with "metric", its labels, and "value"."""
        encoded = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"{self._address}/api/v1/query?{encoded}", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        assert found["status"] == "success", found
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    async def until(self, query: str, value: float) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    if await asyncio.to_thread(self.ask, query) == [value]:
                        return
                except OSError:
                    pass  # it starts
                await asyncio.sleep(0.2)


def started(*command: str) -> "subprocess.Popen[bytes]":
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=silent, stderr=silent)


@asynccontextmanager
async def prometheus(
    directory: Path, target: int, interval: str = "1s"
) -> AsyncIterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed; on Debian: apt-get install prometheus")
    settings, port = directory / "prometheus.yml", free_port()
    settings.write_text(SETTINGS.format(port=target, interval=interval))
    flags = (
        f"--config.file={settings}",
        f"--storage.tsdb.path={directory}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    child = started(program, *flags)
    try:
        yield Prometheus(port)
    finally:
        child.terminate()
        await asyncio.to_thread(child.wait, 20)


async def test_the_queries_of_the_page_answer(tmp_path: Path) -> None:
    extra = (
        'prometheus_listen_addr = "127.0.0.1:0"\n'
        "[pack_objects_cache]\nenabled = true\nmin_occurrences = 0\n"
    )
    async with a_node_with_a_repository(tmp_path, extra) as node:
        port = node.served.node.metrics_port
        assert port is not None
        async with prometheus(tmp_path, port) as asked:
            counted = "sum(gitaly_pack_objects_cache_lookups_total)"
            await asked.until(counted, 0)
            request = SSHUploadPackWithSidechannelRequest(repository=A)
            said = lines(f"want {node.commit} ofs-delta", "", "done")
            for _ in range(4):
                fetched = await node.fetch("SSHUploadPackWithSidechannel", request, said)
                assert fetched.code == "OK"
            await asked.until(counted, 4)
            answers = [await asyncio.to_thread(asked.ask, query) for query in QUERIES]
            assert [len(answer) for answer in answers] == [1, 1, 1, 1, 1]
            ratio, saved, share, needed, unkept = (answer[0] for answer in answers)
            assert math.isclose(ratio, 3 / 4, rel_tol=0.01)
            assert saved > 0
            assert 0.5 < share <= 0.75
            assert needed > 300 * saved
            assert unkept == 0
