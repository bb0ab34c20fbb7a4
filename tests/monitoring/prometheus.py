"""A real Prometheus that scrapes a node."""

import asyncio
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node_process import free_port

STARTING = 503
# A scrape may take as long as the pause between two; on a busy machine one second is not enough.
SETTINGS = """
global: {{scrape_interval: {interval}, evaluation_interval: 1s}}
rule_files: {rules}
scrape_configs:
  - job_name: gitaly
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, query: str) -> list[float]:
        """The values of what a query finds."""
        return [float(result["value"][1]) for result in self.results(query)]

    def labels(self, query: str) -> list[dict[str, str]]:
        """The labels of what a query finds."""
        return [result["metric"] for result in self.results(query)]

    def results(self, query: str) -> list[dict[str, Any]]:
        """What a query finds: each with "metric", its labels, and "value"."""
        encoded = urllib.parse.urlencode({"query": query})
        address = f"{self._address}/api/v1/query?{encoded}"
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == STARTING:
                raise
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from error
        assert found["status"] == "success", found
        results: list[dict[str, Any]] = found["data"]["result"]
        return results

    async def until(self, query: str, value: float) -> None:
        """Wait for this answer; it may be starting yet."""
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(self._answers, query, value):  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    def _answers(self, query: str, value: float) -> bool:
        try:
            return self.ask(query) == [value]
        except OSError:
            return False


def started(*command: str) -> "subprocess.Popen[bytes]":
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=silent, stderr=silent)


@asynccontextmanager
async def prometheus(
    directory: Path, target: int, rule_files: Sequence[Path] = (), interval: str = "2s"
) -> AsyncIterator[Prometheus]:
    """One that scrapes the node's port `target` at this interval."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed; on Debian: apt-get install prometheus")
    settings, port = directory / "prometheus.yml", free_port()
    rules = json.dumps([str(path) for path in rule_files])
    settings.write_text(SETTINGS.format(port=target, rules=rules, interval=interval))
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
