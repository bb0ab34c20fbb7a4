"""Thousands of reads, some of which are broken off, while a writer turns the repository over.

The whole is `GITALY_SOAK_READS=20000`; the suite runs a part of it.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.shared_pb2 import Repository
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.immutable import questions
from tests.e2e.soaking import BRANCHES, BROKEN_OFF, Reader, Writer, make_history

READS = int(os.environ.get("GITALY_SOAK_READS", "1500"))
CALLERS = 16
WARM_UP = 0.25  # of the reads, before memory is looked at
GROWTH_BYTES = 40 << 20  # of memory after that, however many reads follow
DESCRIPTORS = 6  # more than before


@pytest.fixture
def way(own_node: Any, work: Path, name: str) -> Way:
    """A repository of a few commits, with branches and tags that stay."""
    make_history(work)
    node = own_node("")
    make_bare(node, name, source=work)
    made = Way(node=node, repository=name)
    made.git("ls-remote", made.url)
    return made


@pytest.mark.timeout(120 + READS // 20)
def test_reads_are_right_while_a_writer_pushes_repacks_and_deletes(way: Way, work: Path) -> None:
    node = way.node
    repository = Repository(storage_name="default", relative_path=way.repository)
    asked = questions(way.path, repository, BRANCHES)
    dice, writer, reader = random.Random(7), Writer(way, work), Reader(node)

    def read(count: int) -> None:
        with ThreadPoolExecutor(CALLERS) as pool:
            running = []
            for _ in range(count):
                broken_off = dice.choice(BROKEN_OFF) if dice.random() < 0.2 else ""
                seconds = dice.uniform(0, 0.01)
                running.append(pool.submit(reader.ask, dice.choice(asked), broken_off, seconds))
            for future in running:
                future.result()

    with node.quiet_afterwards(), writer.writing():
        read(int(READS * WARM_UP))
        before = node.resident_bytes(), node.descriptors()
        read(READS - int(READS * WARM_UP))
        reader.close()
    grown = node.resident_bytes() - before[0]
    more = node.descriptors() - before[1]
    print(  # noqa: T201 - whoever runs the whole wants to see how far the bounds are
        f"{READS} reads of {len(asked)} questions, {writer.rounds} pushes; "
        f"ended {dict(reader.ends)}; "
        f"memory grew by {grown / 1e6:.1f} MB (bound {GROWTH_BYTES / 1e6:.1f}), "
        f"descriptors by {more} (bound {DESCRIPTORS}), processes left {len(node.children())} (0)"
    )
    assert reader.wrong == []
    assert sum(reader.ends.values()) == READS
    assert reader.ends["OK"] > READS / 2
    assert reader.ends["CANCELLED"] > READS / 30
    assert writer.rounds > 3
    assert grown <= GROWTH_BYTES
    assert more <= DESCRIPTORS
    assert node.git_running() == []
