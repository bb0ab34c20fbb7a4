"""What the kept cat-file processes do, under the names that Gitaly's dashboards know.

Most objects are read in process and appear nowhere here: these are the reads that need git.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

OUTCOMES: Final = ("hit", "miss", "dirty")
LOOKUPS: Final = ("blob", "commit", "tree", "tag", "info")


@dataclass(slots=True)
class CatfileCounts:
    """Written by the event loop, read by any thread."""

    checkouts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(OUTCOMES, 0)))
    lookups: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(LOOKUPS, 0)))
    started: int = 0
    running: int = 0


class CatfileCollector(Collector):
    """One collector, because two of the names differ only by what a client adds to a counter's."""

    def __init__(self, counts: CatfileCounts, idle: Callable[[], int]) -> None:
        self._counts = counts
        self._idle = idle

    def collect(self) -> Iterator[Metric]:
        """Each type from 0 on: an increase that begins with a series' birth is none."""
        counts = self._counts
        yield _by_type(
            CounterMetricFamily(
                "gitaly_catfile_cache",
                "Times a kept cat-file process was found, was not, or was left in the middle",
                labels=["type"],
            ),
            counts.checkouts,
        )
        yield GaugeMetricFamily(
            "gitaly_catfile_processes", "Cat-file processes that run", value=counts.running
        )
        yield CounterMetricFamily(
            "gitaly_catfile_processes", "Cat-file processes started", value=counts.started
        )
        yield _by_type(
            CounterMetricFamily(
                "gitaly_catfile_lookups",
                "Objects that were asked of a cat-file process, by type, or for their headers",
                labels=["type"],
            ),
            counts.lookups,
        )
        members = GaugeMetricFamily(
            "gitaly_catfile_cache_members",
            "Cat-file processes that wait for a question",
            labels=["type"],
        )
        members.add_metric(["object_reader"], self._idle())
        yield members


def _by_type(family: CounterMetricFamily, counts: Counter[str]) -> CounterMetricFamily:
    for kind, count in counts.copy().items():
        family.add_metric([kind], count)
    return family
