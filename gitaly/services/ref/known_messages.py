"""Parts of answers that were told last: clients ask for the same branches and tags again and again.

They are kept as they go over the wire, so that a list is put together without a message being made.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from gitaly.git import ListedReference

TOGETHER: Final = 64  # commits or tags that are read at once and held in memory
LIMIT_BYTES: Final = 32 << 20  # for all repositories together
OVERHEAD_BYTES: Final = 400  # of one in memory, beside what it says
Key = tuple[str, ...]  # the path of the repository, what is told, and what that depends on
Parts = Mapping[ListedReference, bytes]


class KnownMessages:
    """Encoded fields by key and reference. What an object id stands for never changes."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._by_key: OrderedDict[Key, dict[ListedReference, bytes]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """About how much memory they take."""
        return self._bytes

    def of(self, key: Key) -> Parts:
        """Those of a repository, which are now the last that go."""
        return self._of(key)

    def _of(self, key: Key) -> dict[ListedReference, bytes]:
        self._by_key.setdefault(key, {})
        self._by_key.move_to_end(key)
        return self._by_key[key]

    def add(self, key: Key, parts: Parts) -> None:
        """Know more of a repository; others are forgotten for it, in the end its own too."""
        known = self._of(key)
        for reference, part in parts.items():
            if reference not in known:
                self._bytes += len(part) + OVERHEAD_BYTES
                known[reference] = part
        while self._bytes > self._limit_bytes and self._by_key:
            _, forgotten = self._by_key.popitem(last=False)
            self._bytes -= sum(map(len, forgotten.values())) + OVERHEAD_BYTES * len(forgotten)


async def known_or_built(
    known: Parts,
    references: Sequence[ListedReference],
    build: Callable[[Sequence[ListedReference]], Awaitable[Parts]],
) -> list[bytes]:
    """The parts about references, in order. `build` is asked for some of those that are not known;
    what it does not tell of is left out."""
    parts = [known.get(one) for one in references]
    new = [one for one, part in zip(references, parts, strict=True) if part is None]
    if new:
        built: dict[ListedReference, bytes] = {}
        for start in range(0, len(new), TOGETHER):
            built |= await build(new[start : start + TOGETHER])
            await asyncio.sleep(0)  # reading in process never waits
        parts = [
            built.get(one) if part is None else part
            for one, part in zip(references, parts, strict=True)
        ]
    return [part for part in parts if part is not None]
