"""A wire over an asyncio transport, which is where Python has TLS without blocking."""

import asyncio
from collections.abc import Callable, Sequence

from gitaly.transport.linger import Linger
from gitaly.transport.wire import HIGH_WATER_BYTES, Buffer, Silent, WireUser


class TransportWire(asyncio.Protocol):
    """A wire over an asyncio transport: TLS. Nothing can be written before it is connected."""

    def __init__(
        self,
        user: WireUser | None = None,
        on_closed: Callable[[], None] = lambda: None,  # the connection is over
    ) -> None:
        self.user: WireUser = user or Silent()
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._linger: Linger | None = None
        self.connecting: asyncio.Task[None] | None = None  # its TLS handshake, if a task does it
        self._finishing = False
        self._lost = False
        self._was_high = False

    @property
    def backlog(self) -> int:
        """Bytes in the transport's buffer."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _is_broken(self) -> bool:
        """Whether asyncio has lost the connection below TLS, and has yet to tell us."""
        return self._transport is not None and self._transport.get_extra_info("socket") is None

    def _descriptor(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("socket").fileno())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=0)
        self._transport = transport

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Encrypt and send."""
        if self._transport is not None and not (self._lost or self._finishing):
            self._transport.writelines(buffers)

    def pause_reading(self) -> None:
        """Leave what comes to the transport, which leaves it to the kernel."""
        if self._transport is not None and not self._finishing and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what comes."""
        if self._transport is not None and not self._lost and not self._transport.is_reading():
            self._transport.resume_reading()

    def finish(self) -> None:
        """Close once the peer has everything: asyncio's own closing breaks off what is on its way
        when the peer still sends."""
        if self._transport is None or self._finishing or self._lost:
            return
        self._finishing = True
        if self._is_broken():
            return
        self.resume_reading()
        self._linger = Linger(self._descriptor(), lambda: self.backlog, self._transport.close)
        self._linger.check()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
        elif self.connecting is not None:
            self.connecting.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._finishing:
            self.user.bytes_received(memoryview(data))

    def eof_received(self) -> bool:
        if not self._finishing:
            self.user.eof_received()
        return False

    def pause_writing(self) -> None:
        self._was_high = True

    def resume_writing(self) -> None:
        if self._was_high and not self._finishing:
            self._was_high = False
            self.user.writable()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._linger is not None:
            self._linger.cancel()
        self._on_closed()
        self.user.wire_lost(error)
