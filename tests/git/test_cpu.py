"""What running children have cost so far."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from gitaly.git import cpu_seconds_of_groups, usage_of_groups
from tests.e2e.node_process import wait_until


@pytest.fixture
def busy() -> Iterator[int]:
    """A process group whose leader sleeps while what it has started works."""
    script = "while :; do :; done & wait"
    with subprocess.Popen(["sh", "-c", script], process_group=0) as process:
        yield process.pid
        os.killpg(process.pid, signal.SIGKILL)


def test_what_a_child_has_started_counts(busy: int) -> None:
    wait_until(lambda: cpu_seconds_of_groups([busy]).get(busy, 0.0) > 0, "some CPU time")


def test_only_the_groups_that_were_asked_for_are_told(busy: int) -> None:
    assert set(cpu_seconds_of_groups([busy, 1 << 30])) == {busy}
    assert cpu_seconds_of_groups([]) == {}


def test_the_memory_of_all_of_a_group_counts(busy: int) -> None:
    wait_until(lambda: usage_of_groups([busy])[busy].memory_bytes > 100_000, "two processes")
    assert usage_of_groups([1 << 30]) == {}
