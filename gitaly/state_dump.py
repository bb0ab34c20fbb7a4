"""SIGUSR2: the state of the node in the log, while it goes on; also while its event loop does not.

The stack of the main thread, which gets the signals of a process, is taken by faulthandler within
the signal handler, in C, and written to a pipe; a thread adds where the other threads are and what
the inspection knows, and makes log lines of it. Code in C that holds the interpreter's lock delays
these lines, but not the moment of which the main thread's tells.

faulthandler could take the stacks of all threads, but does it without the interpreter's lock: the
others run on meanwhile. On a busy node the first twenty signals ended in a segmentation fault.
"""

import faulthandler
import os
import select
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self

from gitaly.git.pipes import LARGE_PIPE_BYTES, enlarge_pipe
from gitaly.inspection import Inspection
from gitaly.observe.log import Logger
from gitaly.observe.snapshot import Snapshot
from gitaly.observe.stacks import Place, dumped_stack, task_places, thread_places

SIGNAL: Final = signal.SIGUSR2
MOST_LINES: Final = 100  # of each kind
MOST_CHARACTERS: Final = 4000  # of one stack
QUIET_SECONDS: Final = 0.05  # then faulthandler has written everything
Line = tuple[str, dict[str, object]]


class StateDump:
    """Writes to the log when the signal comes, for the length of the block. One in a process."""

    def __init__(self, logger: Logger) -> None:
        self.inspection: Inspection | None = None  # None: the node is not built yet
        self._logger = logger
        self._thread = threading.Thread(target=self._run, name="state-dump", daemon=True)
        self._read = self._write = -1

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)  # no stack is worth a handler that waits
        enlarge_pipe(self._write)
        faulthandler.register(SIGNAL, self._write, all_threads=False)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        faulthandler.unregister(SIGNAL)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def _run(self) -> None:
        while text := os.read(self._read, LARGE_PIPE_BYTES):
            while select.select([self._read], [], [], QUIET_SECONDS)[0]:
                more = os.read(self._read, LARGE_PIPE_BYTES)
                if not more:
                    break
                text += more
            try:
                self._dump(text.decode(errors="replace"))
            except Exception as error:
                self._logger.exception("state dump failed", error=str(error))

    def _dump(self, text: str) -> None:
        began = time.monotonic()
        lines = 0
        self._logger.warning("state dump begins", signal=SIGNAL.name, pid=os.getpid())
        for message, fields in self._lines(text):
            lines += 1
            self._logger.warning(f"state dump: {message}", **fields)
        took = round(time.monotonic() - began, 3)
        self._logger.warning("state dump ends", lines=lines, seconds=took)

    def _lines(self, text: str) -> Iterator[Line]:
        yield from _places("thread", thread_places(dumped_stack(text)))
        inspection = self.inspection
        if inspection is None:
            yield "the node has not started yet", {}
            return
        yield from _places("task", task_places(inspection.loop))
        yield from lines_of(inspection.snapshot())
        yield from _cut(_children(inspection), "child")


def lines_of(snapshot: Snapshot) -> Iterator[Line]:
    """The node, its calls and its queues, as message and fields."""
    yield from _summary(snapshot)
    yield from _calls(snapshot)
    yield from _queues(snapshot)


def _places(what: str, places: Iterable[Place]) -> Iterator[Line]:
    def lines() -> Iterator[Line]:
        for place in places:
            stack = " < ".join(reversed(place.stack))
            yield (
                what,
                {
                    "count": place.count,
                    "names": ", ".join(place.names),
                    "stack": stack[:MOST_CHARACTERS],
                },
            )

    yield from _cut(lines(), what)


def _cut(lines: Iterator[Line], what: str) -> Iterator[Line]:
    """At most so many lines, and how many were left out."""
    for number, line in enumerate(lines):
        if number == MOST_LINES:
            yield f"more of {what}", {"left_out": 1 + sum(1 for _ in lines)}
            return
        yield line


def _summary(snapshot: Snapshot) -> Iterator[Line]:
    node = snapshot.node
    yield (
        "node",
        {
            "node_state": node.state,
            "uptime_seconds": round(node.uptime_seconds, 1),
            "calls": snapshot.calls_total,
            "queued": snapshot.calls_queued,
            "connections": node.connections,
            "memory_bytes": node.memory_bytes,
            "descriptors": node.descriptors,
            "loop_lag_seconds": node.loop_lag_seconds,
            "wrong": "; ".join(snapshot.wrong),
        },
    )


def _calls(snapshot: Snapshot) -> Iterator[Line]:
    def lines() -> Iterator[Line]:
        for call in snapshot.calls:
            yield (
                "call",
                {
                    "correlation_id": call.correlation_id,
                    "grpc.method": call.rpc,
                    "repository": call.repository,
                    "client_name": call.client,
                    "phase": call.phase,
                    "waits_for": call.waits_for,
                    "seconds": round(call.seconds, 3),
                    "cpu_seconds": round(call.cpu_seconds, 2),
                    "sent_bytes": call.sent_bytes,
                    "commands": ", ".join(call.commands),
                },
            )

    yield from _cut(lines(), "call")


def _queues(snapshot: Snapshot) -> Iterator[Line]:
    def lines() -> Iterator[Line]:
        for queue in snapshot.queues:
            for key in queue.busiest:
                fields: dict[str, Any] = {"limit": queue.name, "allowed": queue.limit}
                fields |= {"key": key.key, "running": key.running, "waiting": key.waiting}
                yield "queue", fields

    yield from _cut(lines(), "queue")


def _children(inspection: Inspection) -> Iterator[Line]:
    now = time.monotonic()
    running = inspection.subjects.processes.running()
    for child in sorted(running, key=lambda child: child.started):
        fields: dict[str, object] = {"child_pid": child.pid, "command": child.name}
        fields |= {"seconds": round(now - child.started, 3)}
        fields |= {"cgroup.path": child.cgroup_path or ""}
        yield "child", fields
