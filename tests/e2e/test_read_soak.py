"""Thousands of reads, some of which are broken off, while a writer turns the repository over.

The whole is `GITALY_SOAK_READS=20000`; the suite runs a part of it.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly.rpc import node_services
from tests.e2e.clients import Way, commit, run_git
from tests.e2e.conftest import make_bare
from tests.e2e.immutable import Question, questions
from tests.e2e.node_process import NodeProcess

READS = int(os.environ.get("GITALY_SOAK_READS", "1500"))
CALLERS = 16
COMMITS = 12
BRANCHES = [f"stays-{number}" for number in range(40)]
LIVING = 3  # branches of the writer that exist at once
WARM_UP = 0.25  # of the reads, before memory is looked at
GROWTH_BYTES = 40 << 20  # of memory after that, however many reads follow
DESCRIPTORS = 6  # more than before
METHODS = {method.path: method for methods in node_services().values() for method in methods}
BROKEN_OFF = ("at once", "after the first message", "by a deadline")
EXPECTED_ENDS = {"CANCELLED", "DEADLINE_EXCEEDED", "OK"}


class Writer:
    """Pushes new branches and deletes older ones through the node, repacks behind its back."""

    def __init__(self, way: Way, work: Path) -> None:
        self.rounds = 0
        self._way, self._work = way, work
        self._enough = threading.Event()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self._run)
            try:
                yield
            finally:
                self._enough.set()
            running.result()

    def _run(self) -> None:
        while not self._enough.is_set():
            number = self.rounds = self.rounds + 1
            commit(self._work, f"written {number}", f"new-{number}")
            push = ["HEAD:refs/heads/main", f"HEAD:refs/heads/w-{number}"]
            if number > LIVING:
                push.append(f":refs/heads/w-{number - LIVING}")
            self._way.git("push", "--quiet", self._way.url, *push, cwd=self._work)
            if number % 2:
                run_git("repack", "-a", "-d", "-q", cwd=self._way.path)
            if number % 3:
                run_git("pack-refs", "--all", cwd=self._way.path)


class Reader:
    """Asks from many threads on one connection, and remembers what was wrong."""

    def __init__(self, node: NodeProcess) -> None:
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._channel = grpc.insecure_channel(f"127.0.0.1:{node.tcp}")
        self._lock = threading.Lock()

    def ask(self, question: Question, broken_off: str, seconds: float) -> None:
        multi: Any = self._channel.stream_stream(question.path)  # bytes in, bytes out
        timeout = seconds if broken_off == "by a deadline" else 60
        call = multi(iter([question.request.SerializeToString()]), timeout=timeout)
        if broken_off == "at once":
            call.cancel()
        messages: list[bytes] = []
        try:
            for message in call:
                messages.append(message)
                if broken_off == "after the first message":
                    call.cancel()
        except grpc.RpcError:
            pass
        code = call.code().name
        problem = self._problem(question, broken_off, code, messages)
        with self._lock:
            self.ends[code] += 1
            if problem:
                self.wrong.append(f"{question.path}: {problem} {call.details()}")

    def _problem(
        self, question: Question, broken_off: str, code: str, messages: list[bytes]
    ) -> str:
        if code != "OK":
            return "" if broken_off and code in EXPECTED_ENDS else code
        parse = METHODS[question.path].response_class.FromString
        seen = question.seen([parse(message) for message in messages])
        return "" if seen == question.expected else f"{seen!r} is not {question.expected!r}"

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def way(own_node: Any, work: Path, name: str) -> Way:
    """A repository of a few commits, with branches and tags that stay."""
    for number in range(COMMITS):
        text = "".join(f"line {line} of {number}\n" for line in range(40 + number * 20))
        (work / f"file-{number % 5}").write_text(text)
        run_git("add", ".", cwd=work)
        commit(work, f"other {number}", f"other-{number}")
    for number, branch in enumerate(BRANCHES):
        run_git("branch", branch, f"HEAD~{number % COMMITS}", cwd=work)
        run_git("tag", "--annotate", "--message=x", f"tag-{number}", branch, cwd=work)
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
