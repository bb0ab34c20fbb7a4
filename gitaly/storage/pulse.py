"""Whether the file system below a storage answers, asked before a call touches it.

The event loop reads repositories itself, because a hop to a thread costs more than most reads. If
the file system hangs meanwhile, so does the node. The patrol learns of that only after seconds; so
a call asks first, on a thread of its own, unless somebody has been answered just now. Calls that
come together ask one question together.
"""

import asyncio
import math
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from gitaly.errors import Unavailable
from gitaly.storage.apart import LoneThread
from gitaly.storage.file_systems import CAN_HANG, file_system_name
from gitaly.storage.locator import Storages

# How long an answer holds: 4 questions a second cost nothing, and a local disk hangs rarely. Where
# somebody else must answer, a server or a program, each call asks: it waits for them anyway.
FRESH_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Question:
    answer: asyncio.Future[bool]  # whether it holds for a moment
    asked: float  # monotonic seconds


class Pulse:
    """Of all storages of a node. For its event loop only."""

    def __init__(
        self,
        storages: Storages,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._paths = {storage.name: storage.path for storage in storages}
        self._fresh_seconds = fresh_seconds
        self._patience_seconds = patience_seconds
        self._fresh_until = dict.fromkeys(self._paths.values(), -math.inf)
        self._questions: dict[str, _Question] = {}  # by path: those without an answer
        self._lookouts = {path: _Lookout(path) for path in self._fresh_until}

    def close(self) -> None:
        """Nobody will ask any more."""
        for lookout in self._lookouts.values():
            lookout.thread.close()

    def is_fresh(self, storage_name: str) -> bool:
        """Whether an answer is so young that it need not be asked for: 0.2 µs. Also for a name
        that is no storage's, of which others will speak."""
        path = self._paths.get(storage_name)
        return path is None or time.monotonic() < self._fresh_until[path]

    async def feel(self, storage_name: str) -> None:
        """Wait until the file system answers. Raises Unavailable if it does not.

        Who comes when others have waited in vain does not wait.
        """
        path = self._paths[storage_name]
        question = self._questions.get(path) or self._ask(path)
        patience = question.asked + self._patience_seconds - time.monotonic()
        if patience > 0:
            await asyncio.wait([question.answer], timeout=patience)
        if not question.answer.done():
            raise Unavailable(
                f'storage "{storage_name}" is not available',
                storage_path=path,
                reason=f"its file system has not answered for {self._patience_seconds:g} seconds",
            )

    def _ask(self, path: str) -> _Question:
        lookout = self._lookouts[path]
        answer = lookout.thread.run(lookout.look)
        answer.add_done_callback(partial(self._answered, path))
        self._questions[path] = question = _Question(answer, time.monotonic())
        return question

    def _answered(self, path: str, answer: asyncio.Future[bool]) -> None:
        del self._questions[path]
        if answer.result():
            self._fresh_until[path] = time.monotonic() + self._fresh_seconds


class _Lookout:
    """Who looks at one path."""

    def __init__(self, path: str) -> None:
        self.thread = LoneThread()
        self._path = path
        self._seen: int | None = None  # the id of the file system that was seen last
        self._is_elsewhere = False

    def look(self) -> bool:
        """Whether the answer holds for a moment. Blocks.

        statfs(2) of a file system elsewhere is answered there; stat(2) may be from a cache.
        """
        try:
            found = os.statvfs(self._path).f_fsid
        except OSError:
            return True  # an answer, too: the call will say what is wrong
        if found != self._seen:  # another one is mounted there
            self._is_elsewhere = file_system_name(self._path) in CAN_HANG
            self._seen = found
        return not self._is_elsewhere
