"""Wires: bytes go both ways unchanged, nobody's memory grows, and the end is told once."""

import asyncio
import contextlib
import random
import socket
from pathlib import Path

import pytest

from gitaly.transport import linger
from gitaly.transport.wire import HIGH_WATER_BYTES, SocketWire
from tests.transport.wires import Failing, Notes, connected, received, tcp_pair, unix_pair, until

KINDS = pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
MIB = 1024 * 1024


def notes_of(wire: object) -> Notes:
    user = getattr(wire, "user", None)
    assert isinstance(user, Notes)
    return user


@KINDS
async def test_bytes_arrive_unchanged_wherever_they_are_cut(kind: str, tmp_path: Path) -> None:
    dice = random.Random(7)
    sent = dice.randbytes(3 * MIB)
    async with connected(kind, tmp_path) as (wire, peer):
        reading = asyncio.create_task(received(peer, len(sent)))
        position = 0
        while position < len(sent):
            cuts = [dice.choice((0, 1, 11, 4096, 70_000)) for _ in range(dice.randrange(1, 5))]
            buffers = []
            for size in cuts:
                buffers.append(memoryview(sent)[position : position + size])
                position += size
            wire.write(buffers)
            if wire.backlog > HIGH_WATER_BYTES:
                notes_of(wire).said.clear()
                await notes_of(wire).until_said("writable")
        assert await reading == sent


@KINDS
async def test_what_the_peer_sends_is_received(kind: str, tmp_path: Path) -> None:
    sent = random.Random(8).randbytes(3 * MIB)
    async with connected(kind, tmp_path) as (wire, peer):
        wire.resume_reading()
        await asyncio.to_thread(peer.sendall, sent)
        await notes_of(wire).until(lambda: len(notes_of(wire).data) == len(sent))
        assert notes_of(wire).data == sent


@KINDS
async def test_nothing_is_read_while_reading_is_paused(kind: str, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (wire, peer):
        wire.resume_reading()
        wire.pause_reading()
        await asyncio.to_thread(peer.sendall, b"hello")
        await asyncio.sleep(0.05)
        assert notes_of(wire).data == b""
        wire.resume_reading()
        await notes_of(wire).until(lambda: notes_of(wire).data == b"hello")


async def test_a_thousand_buffers_go_out_in_one_call() -> None:
    ours, peer = tcp_pair()
    wire = SocketWire(ours)
    wire.write([bytes([n % 256]) for n in range(3000)])
    assert await received(peer, 3000) == bytes(n % 256 for n in range(3000))
    wire.abort()
    peer.close()


async def test_empty_buffers_do_not_keep_a_wire_busy() -> None:
    ours, peer = unix_pair()
    wire = SocketWire(ours)
    wire.write([bytes(MIB)])
    wire.write([b"", b""])
    await received(peer, MIB)
    loop = asyncio.get_running_loop()
    await until(lambda: not wire.backlog and not loop.remove_writer(ours.fileno()))
    wire.abort()
    peer.close()


async def test_what_waits_is_a_copy() -> None:
    ours, peer = unix_pair()
    wire = SocketWire(ours)
    buffer = bytearray(b"a" * MIB)
    wire.write([buffer])
    buffer[:] = b"b" * MIB
    assert await received(peer, MIB) == b"a" * MIB
    wire.abort()
    peer.close()


@KINDS
async def test_finishing_delivers_what_waits_although_the_peer_still_sends(
    kind: str, tmp_path: Path
) -> None:
    async with connected(kind, tmp_path) as (wire, peer):
        wire.write([bytes(4 * MIB)])
        await asyncio.to_thread(peer.sendall, b"never read by us")
        wire.finish()
        await asyncio.to_thread(peer.sendall, b"nor this")
        assert len(await received(peer, 4 * MIB)) == 4 * MIB
        with contextlib.suppress(OSError):  # TLS may end without its goodbye
            assert await received(peer, 1) == b""
        peer.close()
        await notes_of(wire).until_said("lost")
        assert notes_of(wire).data == b""


@KINDS
async def test_a_peer_that_takes_nothing_is_cut_off_in_the_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linger, "LINGER_SECONDS", 0.3)
    async with connected(kind, tmp_path) as (wire, _):
        for _ in range(64):
            wire.write([bytes(MIB)])
        wire.finish()
        await notes_of(wire).until_said("lost")


@KINDS
async def test_a_wire_that_nobody_waits_for_ends_at_once(kind: str, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (wire, peer):
        wire.finish()
        assert await received(peer, 1) == b""
        peer.close()
        await notes_of(wire).until_said("lost")


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_the_end_of_the_peer_is_told_once(kind: str, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (wire, peer):
        wire.resume_reading()
        peer.close()
        await notes_of(wire).until_said("eof")
        wire.resume_reading()
        wire.pause_reading()
        wire.resume_reading()
        await asyncio.sleep(0.05)
        wire.abort()
        await notes_of(wire).until_said("lost")
        assert notes_of(wire).said == ["eof", "lost"]


async def test_tls_ends_when_the_peer_does(tmp_path: Path) -> None:
    async with connected("tls", tmp_path) as (wire, peer):
        wire.resume_reading()
        peer.close()
        await notes_of(wire).until_said("lost")
        wire.finish()
        wire.abort()
        assert notes_of(wire).said == ["lost"]


async def test_a_reset_is_told_as_an_error() -> None:
    ours, peer = tcp_pair()
    notes = Notes()
    wire = SocketWire(ours, notes)
    wire.resume_reading()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    await notes.until_said("lost")
    assert isinstance(notes.error, ConnectionResetError)
    assert notes.said == ["lost"]


async def test_nobody_is_told_of_a_loss_in_the_middle_of_writing() -> None:
    ours, peer = unix_pair()
    notes = Notes()
    wire = SocketWire(ours, notes)
    peer.close()
    wire.write([b"into the void"])
    wire.write([b"and again"])
    wire.finish()
    assert notes.said == []
    await notes.until_said("lost")
    assert notes.said == ["lost"]
    assert isinstance(notes.error, BrokenPipeError)


async def test_aborting_twice_is_aborting_once() -> None:
    ours, peer = unix_pair()
    notes = Notes()
    wire = SocketWire(ours, notes)
    wire.abort()
    wire.abort()
    await notes.until_said("lost")
    assert notes.said == ["lost"]
    assert notes.error is None
    peer.close()


async def test_a_user_with_a_bug_loses_its_wire_and_the_loop_says_why() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context["exception"])
    )
    ours, peer = unix_pair()
    user = Failing()
    SocketWire(ours, user).resume_reading()
    peer.sendall(b"x")
    await user.until_said("lost")
    assert [type(complaint) for complaint in complaints] == [ZeroDivisionError]
    assert peer.recv(1) == b""
    peer.close()
