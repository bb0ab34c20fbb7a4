"""Which entries there are, how long, and how much room they may take. Decides; touches no file."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from gitaly.streamcache.entry import Entry, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator wants."""

    max_age_seconds: float
    min_occurrences: int  # requests for a key before one is kept; 0: the first is
    max_bytes: int = 0  # of all files together; 0: no limit
    backpressure: bool = True  # git writes no faster than the fastest reader reads


class Occurrences:
    """How often each key was asked for, in this period of `max_age` and the one before."""

    def __init__(self, period_seconds: float) -> None:
        self.period_seconds = period_seconds
        self._since: float | None = None
        self._current: dict[str, int] = {}
        self._former: dict[str, int] = {}

    def see(self, key: str, now: float) -> int:
        """Another request for a key; how many there were, this one included."""
        if self._since is None:
            self._since = now
        elapsed = now - self._since
        if elapsed >= self.period_seconds:
            self._former = self._current if elapsed < 2 * self.period_seconds else {}
            self._current, self._since = {}, now
        count = self._current.get(key, self._former.get(key, 0)) + 1
        self._current[key] = count
        return count


class Index:
    """All entries, the one used longest ago first."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._occurrences = Occurrences(policy.max_age_seconds)
        self._by_key: OrderedDict[str, Entry] = OrderedDict()
        self._with_file: set[Entry] = set()
        self._replaced: list[Entry] = []
        self.total_bytes = 0  # of all files, those included which only wait for their last reader

    def adopt(self, policy: Policy) -> None:
        """Another policy from now on; who has to go by it is asked for as ever."""
        self._policy = policy
        self._occurrences.period_seconds = policy.max_age_seconds

    def __len__(self) -> int:
        return len(self._by_key)

    def everything(self) -> list[Entry]:
        """All entries with a file, those included which nobody finds any more."""
        return list(self._with_file)

    def lookup(self, key: str, repository: str, now: float) -> tuple[Entry, bool]:
        """The entry that a request shall use, and whether it is new, so that git must run."""
        seen = self._occurrences.see(key, now)
        found = self._by_key.get(key)
        if found is not None and not self._is_old(found, now):
            found.seen = seen
            self._by_key.move_to_end(key)
            return found, False
        if found is not None:
            self.drop(found)
            self._replaced.append(found)
        new = Entry(key=key, repository=repository, created=now, seen=seen)
        self._by_key[key] = new
        return new, True

    def take_replaced(self) -> list[Entry]:
        """Entries that a lookup found too old; each is named once."""
        replaced, self._replaced = self._replaced, []
        return replaced

    def stored(self, entry: Entry) -> None:
        """The entry has a file."""
        self._with_file.add(entry)

    def grow(self, entry: Entry, count: int) -> None:
        """Its file has so many bytes more."""
        entry.grow(count)
        self.total_bytes += count

    def removed(self, entry: Entry) -> None:
        """The entry has no file any more."""
        if entry in self._with_file:
            self._with_file.remove(entry)
            self.total_bytes -= entry.size

    def drop(self, entry: Entry) -> None:
        """Nobody shall find it any more."""
        entry.is_dropped = True
        if self._by_key.get(entry.key) is entry:
            del self._by_key[entry.key]

    def is_worth_keeping(self, entry: Entry, now: float) -> bool:
        """Whether an entry without readers shall wait for others."""
        return (
            entry.state is State.COMPLETE
            and not entry.is_dropped
            and entry.seen > self._policy.min_occurrences
            and not self._is_old(entry, now)
        )

    def old(self, now: float) -> list[Entry]:
        """Entries whose time is over."""
        return [entry for entry in self._by_key.values() if self._is_old(entry, now)]

    def victims(self) -> Iterator[Entry]:
        """Entries that can go to make room, the one used longest ago first."""
        for entry in list(self._by_key.values()):
            if entry.state is State.COMPLETE and not entry.readers:
                yield entry

    def surplus(self, more: int = 0) -> int:
        """Bytes above the budget if files grow by `more`; 0 or less: it fits."""
        if not self._policy.max_bytes:
            return 0
        return self.total_bytes + more - self._policy.max_bytes

    def _is_old(self, entry: Entry, now: float) -> bool:
        return now - entry.created >= self._policy.max_age_seconds
