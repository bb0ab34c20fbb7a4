"""Go clients ping idle connections. A node that minds that would say so at the third ping."""

import asyncio
from pathlib import Path

from tests.faults.nodes import a_node
from tests.interop.conftest import Peer


async def test_idle_connections_outlive_three_pings(peer: Peer, tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        directories = [tmp_path / "plain", tmp_path / "multiplexed"]
        for directory in directories:
            directory.mkdir()
        plain, multiplexed = (Peer(peer.program, directory) for directory in directories)
        flags = ["-address", served.address("tcp"), "-pings", "10s", "-idle", "33s"]
        async with asyncio.TaskGroup() as tasks:
            runs = [
                tasks.create_task(plain(*flags, "-plain")),
                tasks.create_task(multiplexed(*flags)),
            ]
        for run in runs:
            assert [report.code for report in run.result()] == ["OK", "OK"]
        registry = served.node.registry
        assert registry.get_sample_value("gitaly_connections_total", {"type": "tcp"}) == 2
