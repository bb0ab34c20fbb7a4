"""Tells the log why callers are refused, and where they are, without flooding it."""

import asyncio
from collections import Counter
from typing import Final

from gitaly.observe.log import Logger
from gitaly.rpc.bearer import Reason, Refusal
from gitaly.rpc.call import Call

WINDOW_SECONDS: Final = 10
MOST_LINES: Final = 5  # for each reason in a window, each for another host
MOST_CHARACTERS: Final = 100  # of what a caller says of itself
REFUSED: Final = "a call was refused"
WOULD_BE_REFUSED: Final = "a call was let in that will be refused once authentication is enforced"


class RefusalLog:
    """Some lines for each reason and window, and a line that counts those that were left out.

    Every refused call has its own line in the access log besides, as any call has.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._hosts: dict[Reason, set[str]] = {}  # that were named in this window
        self._suppressed: Counter[Reason] = Counter()

    async def run(self) -> None:
        """Begin a new window when the time has come, again and again."""
        while True:
            await asyncio.sleep(WINDOW_SECONDS)
            self.end_window()

    def end_window(self) -> None:
        """Say how much was left out, and let every reason be told anew."""
        for reason, count in self._suppressed.items():
            self._logger.warning(
                "more calls failed authentication for the same reason",
                reason=str(reason),
                suppressed=count,
                window_seconds=WINDOW_SECONDS,
            )
        self._suppressed.clear()
        self._hosts.clear()

    def note(self, call: Call, refusal: Refusal, *, is_enforced: bool) -> None:
        """Log it, or count it."""
        address = call.connection.peer_address if call.connection is not None else ""
        host = address.rpartition(":")[0]
        named = self._hosts.setdefault(refusal.reason, set())
        if host in named or len(named) >= MOST_LINES:
            self._suppressed[refusal.reason] += 1
            return
        named.add(host)
        client = call.metadata.get("x-gitlab-client-name") or call.metadata.get("client_name") or ""
        fields = {
            **refusal.metadata,  # the reason, and the clock skew if it was measured
            "peer.address": address or "unix",
            "grpc.request.fullMethod": call.method.path,
            "grpc.meta.client_name": client[:MOST_CHARACTERS],
            "correlation_id": call.correlation_id,
        }
        self._logger.warning(REFUSED if is_enforced else WOULD_BE_REFUSED, **fields)
