"""How soon a node answers, and what it weighs before anybody has asked it anything."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.processes import node
from bench.report import Row

STARTS = 5


def measure(storage: Path) -> Iterator[Row]:
    times = []
    for _ in range(STARTS):
        start = time.perf_counter()
        with node(storage) as measured:
            times.append(time.perf_counter() - start)
            time.sleep(0.3)
            memory = measured.memory_bytes()
    yield Row("start until the socket answers", median(times), "s", None, 1.0, "")
    yield Row("idle memory", memory / 1e6, "MB", None, 120, "")
