"""How large the pieces are that multiplexed connections read and write, under Gitaly's names."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

POWERS: Final = 11  # bounds of 4**0 … 4**10 bytes
BOUNDS: Final = (*(f"{float(4**power)}" for power in range(POWERS)), "+Inf")


class PieceSizes:
    """Counts pieces by size. A histogram of the library takes ten times as long for each."""

    def __init__(self) -> None:
        self._counts = [0] * (POWERS + 1)
        self._bytes = 0

    def add(self, size: int) -> None:
        """One more of so many bytes."""
        if size > 0:
            # The smallest power of 4 that is not below the size.
            self._counts[min(((size - 1).bit_length() + 1) // 2, POWERS)] += 1
            self._bytes += size

    def family(self, name: str, documentation: str) -> Metric:
        """What Prometheus is told."""
        buckets = list(zip(BOUNDS, map(float, accumulate(self._counts)), strict=True))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self._bytes)


class MuxSizes(Collector):
    """Of all multiplexed connections of a node together."""

    def __init__(self) -> None:
        self.read = PieceSizes()
        self.written = PieceSizes()

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def _families(self) -> Iterator[Metric]:
        yield self.written.family(
            "gitaly_backchannel_yamux_write_size_bytes",
            "Size of individual writes to yamux connections",
        )
        yield self.read.family(
            "gitaly_backchannel_yamux_read_size_bytes",
            "Size of individual reads from yamux connections",
        )
