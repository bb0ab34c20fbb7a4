"""The unix socket that the reference's hook program offers for a pack, its "hook sidechannel".

It sends the input of pack-objects and then nothing more; we send side-band packets without a
flush, and close. Source: Gitaly, internal/gitaly/hook/sidechannel.go.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gitaly.errors import Cancelled, Internal, InvalidRequest
from gitaly.git import PipeReader, go_quoted
from gitaly.hooks import Report
from gitaly.transport import sideband

DIAL_SECONDS: Final = 1
PIECE_BYTES: Final = 256 * 1024


@asynccontextmanager
async def hook_socket(address: str) -> AsyncIterator[socket.socket]:
    """Connected, for the length of the block. Raises InvalidRequest, Internal."""
    if os.path.basename(address) != "sidechannel":
        raise InvalidRequest(f"invalid side channel address: {go_quoted(address)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        connected.setblocking(False)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await asyncio.get_running_loop().sock_connect(connected, address)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Internal(f"get side-channel: {reason or 'timed out'}") from error
        yield connected


class SocketReader:
    """A reader behind such a socket. It satisfies `streamcache.Reader`."""

    def __init__(self, connected: socket.socket) -> None:
        self.gone = asyncio.Event()
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._file = -1
        self._sending = asyncio.Lock()

    async def input(self, limit: int) -> bytes:
        """Everything that the program has to say. Raises Cancelled, Internal."""
        said = bytearray()
        try:
            while piece := await self._loop.sock_recv(self._socket, PIECE_BYTES):
                said += piece
                if len(said) > limit:
                    raise Internal(f"input of more than {limit} bytes")
        except OSError as error:
            raise self._lost(error) from error
        return bytes(said)

    async def use_file(self, descriptor: int) -> None:
        self._file = descriptor

    async def copy(self, start: int, end: int) -> Report:
        at = start
        while at < end:
            size = min(end - at, PIECE_BYTES)
            try:
                piece = await asyncio.to_thread(os.pread, self._file, size, at)
            except OSError as error:
                return Report(at - start, error.errno or 5)
            if not piece:
                break
            await self._send(sideband.STDOUT, piece)
            at += len(piece)
        return Report(at - start)

    async def take(self, source: PipeReader) -> int:
        piece = await source.read(PIECE_BYTES)
        await self._send(sideband.STDOUT, piece)
        return len(piece)

    async def write_stdout(self, data: bytes) -> Report:
        await self._send(sideband.STDOUT, data)
        return Report(len(data))

    async def write_stderr(self, data: bytes) -> None:
        await self._send(sideband.STDERR, data)

    async def _send(self, band: int, data: bytes) -> None:
        framed = b"".join(sideband.frames(band, memoryview(data)))
        try:
            async with self._sending:
                await self._loop.sock_sendall(self._socket, framed)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> Cancelled:
        self.gone.set()
        return Cancelled(f"pack objects hook: {error.strerror}")
