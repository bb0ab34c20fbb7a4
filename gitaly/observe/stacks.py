"""Where threads and tasks of this process are, in few lines: the same place is told once.

Everything here may be called from any thread, also while the event loop stands still.
"""

import asyncio
import gc
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType, MappingProxyType
from typing import Any, Final

MOST_FRAMES: Final = 40  # of one stack: the innermost
MOST_NAMES: Final = 5  # of those who stand at one place
ATTEMPTS: Final = 3
# Coroutines, generators, asynchronous generators: where each keeps what it waits for.
AWAITED: Final = MappingProxyType({"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"})
# A line of faulthandler's.
FRAME: Final = re.compile(r'^  File "(.+)", line (\d+|\?\?\?) in (.+)$')


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one or several threads or tasks are."""

    names: tuple[str, ...]  # of at most MOST_NAMES of them
    count: int
    stack: tuple[str, ...]  # "gitaly/node.py:12 main", the innermost last


def task_places(loop: asyncio.AbstractEventLoop) -> list[Place]:
    """The tasks of a loop; where most of them are first."""
    for _ in range(ATTEMPTS):
        try:
            tasks = asyncio.all_tasks(loop)
            break
        except RuntimeError:  # too much has come and gone while we looked
            continue
    else:
        return []
    return _grouped((task.get_name(), _stack_of(task)) for task in tasks)


def thread_stack(ident: int) -> tuple[str, ...]:
    """Where one thread is; empty if it is not there."""
    frame = sys._current_frames().get(ident)
    return _frames(frame) if frame is not None else ()


def dumped_stack(text: str) -> tuple[str, ...]:
    """The first stack that faulthandler wrote; empty if there is none."""
    stack: list[str] = []
    for line in text.splitlines():
        if frame := FRAME.match(line):
            stack.append(f"{_short(frame[1])}:{frame[2]} {frame[3]}")
        elif stack:
            break  # what another signal wrote
    return tuple(reversed(stack[:MOST_FRAMES]))


def thread_places(interrupted: tuple[str, ...] = ()) -> list[Place]:
    """Where all threads are; the main thread where it was `interrupted`, if that is known."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    known = {threading.main_thread().ident: interrupted} if interrupted else {}
    return _grouped(
        (names.get(ident, str(ident)), known.get(ident) or _frames(frame))
        for ident, frame in sys._current_frames().items()
    )


def _grouped(found: Iterable[tuple[str, tuple[str, ...]]]) -> list[Place]:
    """By place, where most are first."""
    by_stack: dict[tuple[str, ...], list[str]] = {}
    for name, stack in found:
        by_stack.setdefault(stack, []).append(name)
    places = [
        Place(names=tuple(sorted(names)[:MOST_NAMES]), count=len(names), stack=stack)
        for stack, names in by_stack.items()
    ]
    return sorted(places, key=lambda place: (-place.count, place.stack))


def _stack_of(task: "asyncio.Task[Any]") -> tuple[str, ...]:
    """From the task's coroutine to what it waits for, through every `await` between them."""
    stack: list[str] = []
    waiting: Any = task.get_coro()  # Any: coroutines, generators and futures, each of its kind
    while waiting is not None and len(stack) < MOST_FRAMES:
        kind = _kind_of(waiting)
        if kind is None:
            waiting = _wrapped(waiting)
            continue
        frame = getattr(waiting, f"{kind}_frame")
        if frame is not None:  # else it has ended
            stack.append(_line(frame.f_code, frame.f_lineno))
        waiting = getattr(waiting, AWAITED[kind])
    return tuple(stack)


def _kind_of(waiting: object) -> str | None:
    return next((kind for kind in AWAITED if hasattr(waiting, f"{kind}_frame")), None)


def _wrapped(waiting: object) -> object:
    """What an object without a frame of its own stands for: gRPC's core wraps our coroutines, and
    a step of an asynchronous generator does not name it. None: it is a future."""
    if "wrapper" not in type(waiting).__name__ and "async_generator" not in type(waiting).__name__:
        return None
    return next((found for found in gc.get_referents(waiting) if _kind_of(found)), None)


def _frames(frame: FrameType | None) -> tuple[str, ...]:
    stack: list[str] = []
    while frame is not None and len(stack) < MOST_FRAMES:
        stack.append(_line(frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(reversed(stack))


def _line(code: CodeType, line: int | None) -> str:
    return f"{_short(code.co_filename)}:{line} {code.co_qualname}"


def _short(path: str) -> str:
    """From the package on: "gitaly/node.py", "asyncio/events.py"."""
    parts: Sequence[str] = path.split("/")
    for root in ("site-packages", "gitaly", "lib"):
        if root in parts[:-1]:
            start = len(parts) - 1 - list(reversed(parts)).index(root)
            kept = parts[start:] if root == "gitaly" else parts[start + 1 :]
            return "/".join(kept)
    return "/".join(parts[-2:])
