"""From an address to a connection on which a node can open streams to us."""

import asyncio
import contextlib
import os
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc

from gitaly.client.address import Address, parse_address
from gitaly.client.calls import CallFailed, Metadata
from gitaly.client.certificates import tls_reason
from gitaly.client.connection import NodeConnection
from gitaly.client.sidechannels import Sidechannels
from gitaly.errors import Unavailable
from gitaly.token import make_token
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.stream_socket import StreamSocket
from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import Limits

MAGIC: Final = b"backchannel"
CONNECT_SECONDS: Final = 20
FULL_QUEUE_SECONDS: Final = 0.05  # between two looks whether there is a place

# The reference's clients have windows of 256 KiB, which stop git at the node 4,000 times for each
# GB. What a slow reader of ours leaves unread waits here, up to the window, in memory.
LIMITS: Final = Limits(max_window=4 * 1024 * 1024)

# The core speaks to a socket of ours; whether the node lives is seen on the connection itself.
OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)


# What the core says when its socket is closed because the connection was; or it names that socket.
OF_THE_CORE: Final = ("Stream removed", "Socket closed")


class CannotDial(Unavailable):
    """There is no connection to the node."""


@asynccontextmanager
async def dial(
    address: str, secret: bytes = b"", *, metadata: Metadata = ()
) -> AsyncIterator[NodeConnection]:
    """A connection for the length of the block.

    `secret`: the node's token; empty: none is sent. `metadata` goes along with each call. Trust
    for TLS comes from SSL_CERT_FILE and SSL_CERT_DIR, else from the system.
    Raises InvalidRequest for an address that is none, CannotDial, and CallFailed in plain words for
    a call that lost the connection.
    """
    sidechannels = Sidechannels()
    parsed = parse_address(address)
    session = await _session(parsed, sidechannels)
    name = f"gitaly-client-{os.getpid()}-{secrets.token_hex(16)}"
    core = StreamSocket(session, f"\0{name}")

    def call_metadata() -> Metadata:
        token = [("authorization", make_token(secret, time.time()))] if secret else []
        return [*metadata, *token]

    try:
        core.open()
        channel = grpc.insecure_channel(f"unix-abstract:{name}", options=OPTIONS)
        try:
            yield NodeConnection(channel, sidechannels, call_metadata)
        except CallFailed as error:
            if session.is_lost and any(words in error.message for words in (name, *OF_THE_CORE)):
                raise CallFailed(error.code, f"{parsed}: the connection was lost") from error
            raise
        except (BrokenPipeError, ConnectionResetError) as error:  # a write has met it first
            code = grpc.StatusCode.UNAVAILABLE
            raise CallFailed(code, f"{parsed}: the connection was lost") from error
        finally:
            channel.close()
    finally:
        core.close()
        core.abort_relays()
        session.close()


async def _session(address: Address, sidechannels: Sidechannels) -> MuxSession:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connected = await _connect(address)
            wire = await _wire(connected, address)
    except TimeoutError as error:
        raise CannotDial(f"dial {address}: i/o timeout") from error
    except ssl.SSLCertVerificationError as error:
        raise CannotDial(f"dial {address}: {error.verify_message}") from error
    except OSError as error:
        raise CannotDial(f"dial {address}: {_reason(error)}") from error
    except UnicodeError as error:  # what Python says of a name with an empty or a long part
        raise CannotDial(f"dial {address}: not a name of a host") from error

    def opened(stream: MuxStream) -> None:
        sidechannels.stream_opened(session, stream)

    wire.write((MAGIC,))
    session = MuxSession(wire, is_client=True, limits=LIMITS, on_stream=opened)
    session.start()
    return session


def _reason(error: OSError) -> str:
    """The system's words; asyncio and ssl add theirs."""
    if isinstance(error, ssl.SSLError):
        return tls_reason(error)
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()


async def _connect(address: Address) -> socket.socket:
    """Try every address of the host, in the system's order. Raises OSError."""
    loop = asyncio.get_running_loop()
    if address.path:
        return await _connected(socket.AF_UNIX, address.path)
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, _, _, _, where in found[:-1]:
        with contextlib.suppress(OSError):
            return await _connected(family, where)
    family, _, _, _, where = found[-1]
    return await _connected(family, where)


async def _connected(family: int, where: object) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        if family == socket.AF_UNIX:
            await _connect_path(connecting, str(where))
            return connecting
        # getaddrinfo gives what sock_connect takes, whatever the family.
        await asyncio.get_running_loop().sock_connect(connecting, where)  # type: ignore[arg-type]
    except BaseException:
        connecting.close()
        raise
    _tune(connecting)
    return connecting


async def _connect_path(connecting: socket.socket, path: str) -> None:
    """Wait for a place where the queue of a node that accepts nobody is full.

    The kernel says so with EAGAIN, and the loop, which knows that of TCP, would take it for a
    connection. Source: connect(2).
    """
    while True:
        with contextlib.suppress(BlockingIOError):
            connecting.connect(path)
            return
        await asyncio.sleep(FULL_QUEUE_SECONDS)


def _tune(connected: socket.socket) -> None:
    """No delay for small frames; notice a node that is gone; keep middle boxes awake."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


async def _wire(connected: socket.socket, address: Address) -> SocketWire | TransportWire:
    if not address.tls:
        return SocketWire(connected)
    wire = TransportWire()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: wire, sock=connected, ssl=context, server_hostname=address.host
        )
    except BaseException:
        connected.close()
        raise
    return wire
