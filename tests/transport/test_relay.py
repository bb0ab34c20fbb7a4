"""A relay carries bytes both ways, holds back who is too fast, and ends with either side."""

import asyncio
import random
import socket

from gitaly.transport.relay import Relay
from gitaly.transport.wire import HIGH_WATER_BYTES, READ_BYTES, SocketWire
from tests.transport.wires import Full, received, tcp_pair, unix_pair, until

MIB = 1024 * 1024


class Coupled:
    """client ═ near ═ relay ═ far ═ core, all of them real sockets."""

    def __init__(self, seen: bytes = b"") -> None:
        ours, self.client = tcp_pair()
        theirs, self.core = unix_pair()
        self.ended = asyncio.Event()
        self.closed: list[str] = []
        self.near = SocketWire(ours, on_closed=lambda: self.closed.append("near"))
        self.far = SocketWire(theirs, on_closed=lambda: self.closed.append("far"))
        self.relay = Relay(on_end=self.ended.set)
        self.relay.couple(self.near, self.far, seen)

    async def both_closed(self) -> None:
        await until(lambda: len(self.closed) == 2)
        await asyncio.sleep(0)
        self.client.close()
        self.core.close()


async def send(peer: socket.socket, data: bytes) -> None:
    await asyncio.to_thread(peer.sendall, data)


async def test_bytes_go_both_ways_at_the_same_time_unchanged() -> None:
    dice = random.Random(1)
    up, down = dice.randbytes(5 * MIB), dice.randbytes(7 * MIB)
    coupled = Coupled(seen=up[:24])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send(coupled.client, up[24:]))
        tasks.create_task(send(coupled.core, down))
        at_core = tasks.create_task(received(coupled.core, len(up)))
        at_client = tasks.create_task(received(coupled.client, len(down)))
    assert (at_core.result(), at_client.result()) == (up, down)
    coupled.client.close()
    await coupled.both_closed()


async def test_a_client_that_does_not_read_stops_the_core() -> None:
    coupled = Coupled()
    coupled.core.settimeout(0.3)
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += await asyncio.to_thread(coupled.core.send, bytes(MIB))
    except TimeoutError:
        pass
    assert sent < 64 * MIB
    assert coupled.near.backlog <= HIGH_WATER_BYTES + READ_BYTES
    assert len(await received(coupled.client, sent)) == sent
    coupled.client.close()
    await coupled.both_closed()


async def test_what_the_core_has_said_arrives_although_it_has_closed() -> None:
    coupled = Coupled()
    sending = asyncio.create_task(send(coupled.core, bytes(8 * MIB)))
    sending.add_done_callback(lambda _: coupled.core.close())
    await send(coupled.client, b"bytes that the core never reads")
    assert len(await received(coupled.client, 8 * MIB)) == 8 * MIB
    assert await received(coupled.client, 1) == b""
    await coupled.both_closed()


async def test_what_the_client_has_said_arrives_although_it_has_closed() -> None:
    coupled = Coupled()
    sending = asyncio.create_task(send(coupled.client, bytes(8 * MIB)))
    sending.add_done_callback(lambda _: coupled.client.close())
    assert len(await received(coupled.core, 8 * MIB)) == 8 * MIB
    assert await received(coupled.core, 1) == b""
    await coupled.both_closed()


async def test_a_client_that_stays_after_the_core_has_gone_is_let_go() -> None:
    coupled = Coupled()
    coupled.core.close()
    assert await received(coupled.client, 1) == b""
    await coupled.both_closed()


async def test_a_client_that_sends_without_end_is_let_go_when_the_core_has_gone() -> None:
    coupled = Coupled()
    coupled.core.close()
    await asyncio.wait_for(coupled.ended.wait(), 20)
    await send(coupled.client, b"x")
    await coupled.both_closed()


async def test_half_a_connection_is_none() -> None:
    coupled = Coupled()
    coupled.client.shutdown(socket.SHUT_WR)
    assert await received(coupled.core, 1) == b""
    assert await received(coupled.client, 1) == b""
    await coupled.both_closed()


async def test_aborting_closes_both_and_says_so_once() -> None:
    coupled = Coupled()
    coupled.relay.abort()
    coupled.relay.abort()
    assert coupled.closed == ["near", "far"]
    assert coupled.ended.is_set()
    await coupled.both_closed()


def test_the_source_waits_while_the_target_is_full() -> None:
    near, far = Full(), Full()
    Relay().couple(near, far)  # type: ignore[arg-type]  # its user is looked at below
    near.user.bytes_received(memoryview(bytes(HIGH_WATER_BYTES)))  # type: ignore[attr-defined]
    assert near.calls == ["resume"]
    near.user.bytes_received(memoryview(b"x"))  # type: ignore[attr-defined]
    assert near.calls == ["resume", "pause"]
    far.user.writable()  # type: ignore[attr-defined]
    assert near.calls == ["resume", "pause", "resume"]
