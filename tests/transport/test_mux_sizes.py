"""How large pieces are."""

from bisect import bisect_left

import pytest
from prometheus_client import CollectorRegistry

from gitaly.transport.mux_sizes import BOUNDS, MuxSizes
from tests.transport.sessions import Side, two_sides
from tests.transport.wires import Notes

WRITTEN = "gitaly_backchannel_yamux_write_size_bytes"
READ = "gitaly_backchannel_yamux_read_size_bytes"


@pytest.mark.parametrize("size", [1, 2, 4, 5, 16, 17, 12, 65_536, 65_537, 1 << 20, (1 << 20) + 1])
def test_a_piece_is_counted_from_the_first_bound_that_it_does_not_exceed(size: int) -> None:
    sizes, registry = MuxSizes(), CollectorRegistry()
    registry.register(sizes)
    sizes.read.add(size)
    counts = [registry.get_sample_value(f"{READ}_bucket", {"le": bound}) for bound in BOUNDS]
    first = bisect_left([float(bound) for bound in BOUNDS], size)
    assert counts == [0.0] * first + [1.0] * (len(BOUNDS) - first)
    assert registry.get_sample_value(f"{READ}_sum") == size
    assert registry.get_sample_value(f"{READ}_count") == 1


def test_what_is_written_is_told_from_what_is_read_and_nothing_is_no_piece() -> None:
    sizes, registry = MuxSizes(), CollectorRegistry()
    registry.register(sizes)
    sizes.written.add(7)
    sizes.read.add(0)
    assert registry.get_sample_value(f"{WRITTEN}_sum") == 7
    assert registry.get_sample_value(f"{READ}_count") == 0


async def test_what_one_side_of_a_session_writes_the_other_reads() -> None:
    def bytes_of(side: Side, name: str) -> float | None:
        registry = CollectorRegistry()
        registry.register(side.sizes)
        return registry.get_sample_value(f"{name}_sum")

    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        reader, notes = await client.stream()
        reader.resume_reading()
        stream.write([bytes(100_000)])
        await notes.until(lambda: len(notes.data) == 100_000)
        assert bytes_of(node, WRITTEN) == bytes_of(client, READ)
        assert (bytes_of(client, READ) or 0) > 100_000
