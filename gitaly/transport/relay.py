"""Couples two wires: what comes from one goes out on the other, and a slow reader is felt.

A gRPC client cannot use a connection that somebody else has made, so each stream of a session is
carried to a private socket by one of these.
"""

from collections.abc import Callable

from gitaly.transport.wire import HIGH_WATER_BYTES, Wire


class _Direction:
    """The user of one wire, which carries what it sends to the other one."""

    def __init__(self, source: Wire, target: Wire, on_end: Callable[[], None]) -> None:
        self._source = source
        self._target = target
        self._on_end = on_end

    def bytes_received(self, data: memoryview) -> None:
        self._target.write((data,))
        if self._target.backlog > HIGH_WATER_BYTES:
            self._source.pause_reading()

    def writable(self) -> None:
        self._target.resume_reading()

    def eof_received(self) -> None:
        self._on_end()

    def wire_lost(self, _: Exception | None) -> None:
        self._on_end()


class Relay:
    """Carries bytes both ways between two wires until one of them ends, which ends the other.

    HTTP/2 does not know half of a connection: a side that says its last is not interested in
    answers either. What has been said is still delivered, as slowly as the other side takes it.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self._wires: tuple[Wire, ...] = ()
        self._on_end = on_end

    def couple(self, near: Wire, far: Wire, received: bytes = b"") -> None:
        """Take both wires over; `received` has been read from the near one already."""
        self._wires = near, far
        near.user = _Direction(near, far, self._end)
        far.user = _Direction(far, near, self._end)
        if received:
            far.write((received,))
        near.resume_reading()
        far.resume_reading()

    def abort(self) -> None:
        """Drop both wires."""
        for wire in self._wires:
            wire.abort()
        self._end()

    def _end(self) -> None:
        wires, self._wires = self._wires, ()
        if wires:
            for wire in wires:
                wire.finish()
            self._on_end()
