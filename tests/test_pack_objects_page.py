"""docs/pack-objects-cache.md: its configuration loads, and its queries answer in a Prometheus."""

import asyncio
import math
import re
from pathlib import Path

from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.config import load_text, problems
from tests.faults.conftest import tmp_path as tmp_path
from tests.monitoring.prometheus import prometheus
from tests.services.node_under_test import A, a_node_with_a_repository
from tests.services.packets import lines

PAGE = (Path(__file__).parents[1] / "docs/pack-objects-cache.md").read_text()
QUERIES = re.findall(r"```promql\n(.+?)\n```", PAGE, re.DOTALL)
NODE = 'socket_path = "/s"\n[[storage]]\nname = "default"\npath = "/"\n'


def test_the_configuration_of_the_page_is_right() -> None:
    text = PAGE.partition("```toml\n")[2].partition("```")[0]
    config = load_text(NODE + text)
    assert config.pack_objects_cache.enabled
    assert config.pack_objects_cache.max_bytes == 50_000_000_000
    assert config.origin.unknown_keys == ()
    assert "pack_objects_cache" not in {problem.key[0] for problem in problems(config)}


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
