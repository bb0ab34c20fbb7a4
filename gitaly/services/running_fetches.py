"""Fetches whose packs the node computes itself: they hear why theirs could not be.

upload-pack knows no more than that its hook failed. So each fetch has a name in the environment of
its git, which the hook program brings back with its question.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from gitaly.git import StoppedByLimit
from gitaly.git.upload_pack import Fetch

VARIABLE: Final = "GITALY_FETCH_NAME"


class RunningFetches:
    """Those that wait for a pack, by name."""

    def __init__(self) -> None:
        self._running: dict[str, Fetch] = {}

    @contextmanager
    def named(self, fetch: Fetch) -> Iterator[None]:
        """Give a fetch a name for the length of the block."""
        name = secrets.token_hex(16)
        fetch.env = {**fetch.env, VARIABLE: name}
        self._running[name] = fetch
        try:
            yield
        finally:
            del self._running[name]

    def stopped(self, environment: Mapping[bytes, bytes], error: StoppedByLimit) -> None:
        """A memory limit has stopped the pack that a hook program with this environment wants."""
        fetch = self._running.get(environment.get(VARIABLE.encode(), b"").decode(errors="replace"))
        if fetch is not None:
            fetch.stopped = error
