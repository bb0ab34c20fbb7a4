"""What a node is soaked in: reads whose answers are known, and a writer that never ends."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from gitaly.rpc import node_services
from gitaly.token import make_token
from tests.e2e.clients import Way, commit, run_git
from tests.e2e.immutable import Question
from tests.e2e.node_process import NodeProcess

COMMITS = 12
BRANCHES = [f"stays-{number}" for number in range(40)]
LIVING = 3  # branches of the writer that exist at once
METHODS = {method.path: method for methods in node_services().values() for method in methods}
BROKEN_OFF = ("at once", "after the first message", "by a deadline")
EXPECTED_ENDS = {"CANCELLED", "DEADLINE_EXCEEDED", "OK"}


def make_history(work: Path) -> None:
    """Give a work tree more commits, and branches and tags that stay."""
    for number in range(COMMITS):
        text = "".join(f"line {line} of {number}\n" for line in range(40 + number * 20))
        (work / f"file-{number % 5}").write_text(text)
        run_git("add", ".", cwd=work)
        commit(work, f"other {number}", f"other-{number}")
    for number, branch in enumerate(BRANCHES):
        run_git("branch", branch, f"HEAD~{number % COMMITS}", cwd=work)
        run_git("tag", "--annotate", "--message=x", f"tag-{number}", branch, cwd=work)


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

    def __init__(self, node: NodeProcess, secret: bytes = b"") -> None:
        """`secret`: what the calls are signed with, if they are."""
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._channel = grpc.insecure_channel(f"127.0.0.1:{node.tcp}")
        self._lock = threading.Lock()
        self._secret = secret

    def ask(self, question: Question, broken_off: str, seconds: float) -> None:
        multi: Any = self._channel.stream_stream(question.path)  # bytes in, bytes out
        timeout = seconds if broken_off == "by a deadline" else 60
        token = make_token(self._secret, time.time())
        call = multi(
            iter([question.request.SerializeToString()]),
            timeout=timeout,
            metadata=[("authorization", token)] if self._secret else [],
        )
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
