"""A client that reads nothing for a while stops git, and does not fill the node's memory."""

from pathlib import Path

import pytest

from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import read_rest, stalled_fetch
from tests.e2e.node_process import NodeProcess

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("listener", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_a_slow_client_stops_git_and_gets_everything_in_the_end(
    node: NodeProcess, name: str, big: Path, program: str, listener: str
) -> None:
    make_bare(node, name, source=big)
    before = node.resident_bytes()
    way = Way(node=node, repository=name, program=program, listener=listener)
    with stalled_fetch(way) as talk:
        assert node.resident_bytes() - before < 64 * MEGABYTE
        assert read_rest(talk) > 20 * MEGABYTE
        talk.say(b"")
        assert talk.ended() == (0, "")
