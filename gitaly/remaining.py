"""What a node is busy with, in an operator's words: "3 clones and 1 push, oldest 12 min"."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gitaly.rpc import Call

# What people call the calls that take long, one and many of them.
WORDS: Final = {
    "SSHUploadPackWithSidechannel": ("clone", "clones"),  # or a fetch: nobody can tell
    "PostUploadPackWithSidechannel": ("clone", "clones"),
    "SSHReceivePack": ("push", "pushes"),
    "PostReceivePack": ("push", "pushes"),
    "SSHUploadArchive": ("archive", "archives"),
    "GetArchive": ("archive", "archives"),
}
OTHERS: Final = ("other call", "other calls")
ALL_OTHERS: Final = ("call", "calls")
# Questions for our health are no work; what our hooks ask belongs to a push or clone that counts.
UNCOUNTED: Final = frozenset({"grpc.health.v1.Health", "gitaly.HookService"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """Calls that run."""

    calls: int
    words: str  # "3 clones and 1 push"; "no calls"
    oldest_seconds: float  # 0 without calls

    def text(self, verb: str) -> str:
        """`verb`: "left", "running"."""
        if not self.calls:
            return f"no calls {verb}"
        return f"{self.words} {verb}, oldest {age(self.oldest_seconds)}"


def remaining(running: Iterable[Call], now: float | None = None) -> Remaining:
    """`now`: monotonic seconds."""
    calls = [call for call in running if call.method.service not in UNCOUNTED]
    counts: dict[tuple[str, str], int] = {}
    for call in calls:
        words = WORDS.get(call.method.name, OTHERS)
        counts[words] = counts.get(words, 0) + 1
    others = counts.pop(OTHERS, 0)
    if others:
        counts[OTHERS if counts else ALL_OTHERS] = others
    parts = [f"{count} {one if count == 1 else many}" for (one, many), count in counts.items()]
    now = time.monotonic() if now is None else now
    return Remaining(
        calls=len(calls),
        words=" and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "no calls",
        oldest_seconds=max((now - call.started for call in calls), default=0.0),
    )


def age(seconds: float) -> str:
    """ "8 s", "12 min", "2 h 5 min"."""
    minutes = int(seconds // 60)
    if not minutes:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
