"""Couples two wires: what comes from one goes out on the other, and a slow reader is felt.

gRPC's core cannot serve a connection that somebody else has accepted (grpc/grpc#19133), so each
connection is carried to a private socket of the core by one of these.
"""

from collections.abc import Callable

from gitaly.transport.wire import HIGH_WATER_BYTES, Wire


class _End:
    """One direction: from the wire that it uses to the other one."""

    def __init__(self, relay: "Relay") -> None:
        self._relay = relay
        self.wire: Wire | None = None
        self.other: Wire | None = None

    def bytes_received(self, data: memoryview) -> None:
        assert self.wire is not None
        assert self.other is not None
        self.other.write((data,))
        if self.other.backlog > HIGH_WATER_BYTES:
            self.wire.pause_reading()

    def writable(self) -> None:
        if self.other is not None:
            self.other.resume_reading()

    def eof_received(self) -> None:
        if self.other is not None:
            self.other.finish()
        self._relay.half_closed()

    def wire_lost(self, error: Exception | None) -> None:
        self.wire = None
        self._relay.lost(error)


class Relay:
    """Carries bytes both ways between two wires until one of them ends."""

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self._near, self._far = _End(self), _End(self)
        self._on_end = on_end
        self._half_closed = 0
        self._ended = False

    def couple(self, near: Wire, far: Wire, received: bytes = b"") -> None:
        """Take both wires over; `received` has been read from the near one already."""
        self._near.wire = self._far.other = near
        self._far.wire = self._near.other = far
        near.user, far.user = self._near, self._far
        if received:
            far.write((received,))
        near.resume_reading()
        far.resume_reading()

    def half_closed(self) -> None:
        """One side has said its last; both: nothing is left to carry."""
        self._half_closed += 1
        if self._half_closed == 2:
            self.abort()

    def lost(self, _: Exception | None) -> None:
        """One wire is gone: let the other deliver what it has, then end."""
        for end in (self._near, self._far):
            if end.wire is not None:
                wire = end.wire
                wire.finish() if wire.backlog else wire.abort()
        self._end()

    def abort(self) -> None:
        """Drop both wires."""
        for end in (self._near, self._far):
            if end.wire is not None:
                end.wire.abort()
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()
