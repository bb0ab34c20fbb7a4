"""yamux sessions on real sockets: streams as wires, and peers that break the rules."""

import asyncio
import contextlib
import random
import socket
import struct

import pytest

from gitaly.transport.mux import MOST_CONTROL_BACKLOG, MuxStream
from gitaly.transport.wire import HIGH_WATER_BYTES
from gitaly.transport.yamux_frames import INITIAL_WINDOW
from tests.transport.sessions import node_and_raw_peer, two_sides
from tests.transport.wires import Echo, Notes, received, until
from tests.transport.yamux_wire import FIN_1, GO_AWAY_PROTOCOL_ERROR, OPEN_1, RST_1, data

MIB = 1024 * 1024
ACK_1 = bytes.fromhex("00 01 0002 00000001 00fc0000")
OPEN_2 = bytes.fromhex("00 01 0001 00000002 00fc0000")
PING = bytes.fromhex("00 02 0001 00000000 00000007")
PONG = bytes.fromhex("00 02 0002 00000000 00000007")


def notes_of(stream: MuxStream) -> Notes:
    assert isinstance(stream.user, Notes)
    return stream.user


async def test_bytes_come_back_unchanged_through_two_streams_at_once() -> None:
    dice = random.Random(3)
    said = [dice.randbytes(3 * MIB), dice.randbytes(2 * MIB)]
    async with two_sides() as (node, client):
        streams = [node.session.open_stream(Notes()) for _ in said]
        for number in range(len(said)):
            stream, _ = await client.stream(number)
            stream.user = Echo(stream)
            stream.resume_reading()
        for stream, words in zip(streams, said, strict=True):
            stream.resume_reading()
            stream.write([memoryview(words)[:5], memoryview(words)[5:]])
        for stream, words in zip(streams, said, strict=True):
            notes = notes_of(stream)
            await notes.until(lambda n=notes, w=words: len(n.data) == len(w))  # type: ignore[misc]
            assert notes.data == words


async def test_a_reader_that_pauses_stops_the_writer_at_the_window() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        await client.stream()
        stream.write([bytes(INITIAL_WINDOW + 1000)])
        await until(lambda: stream.backlog == 1000)
        assert (stream.sendable, stream.is_waiting) == (0, True)
        reader, notes = await client.stream()
        assert notes.data == b""
        reader.resume_reading()
        await notes.until(lambda: len(notes.data) == INITIAL_WINDOW + 1000)
        assert stream.sendable > 0


async def test_writable_is_told_when_the_window_opens() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        stream.write([bytes(INITIAL_WINDOW + HIGH_WATER_BYTES + 1)])
        reader, _ = await client.stream()
        reader.resume_reading()
        await notes_of(stream).until_said("writable")


async def test_what_was_written_before_finish_arrives_although_the_window_was_shut() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        stream.write([bytes(INITIAL_WINDOW * 3)])
        stream.finish()
        stream.write([b"too late"])
        reader, notes = await client.stream()
        reader.resume_reading()
        await notes.until_said("eof")
        assert len(notes.data) == INITIAL_WINDOW * 3
        reader.finish()
        await notes.until_said("lost")
        await notes_of(stream).until_said("lost")
        assert (notes.error, notes_of(stream).error) == (None, None)


async def test_a_session_that_finishes_waits_for_streams_that_wait() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        stream.write([bytes(INITIAL_WINDOW * 3)])
        stream.finish()
        node.session.finish()
        reader, notes = await client.stream()
        await asyncio.sleep(0.02)
        assert not node.ended
        reader.resume_reading()
        await notes.until(lambda: len(notes.data) == INITIAL_WINDOW * 3)
        await until(lambda: node.session.is_lost)


async def test_unread_bytes_can_be_read_after_both_sides_have_finished() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        stream.write([b"last words"])
        stream.finish()
        reader, notes = await client.stream()
        await asyncio.sleep(0.02)
        assert (bytes(notes.data), "eof" in notes.said) == (b"", False)
        reader.resume_reading()
        await notes.until_said("eof")
        assert notes.data == b"last words"


async def test_the_end_of_the_connection_takes_nothing_from_a_client_that_reads_slowly() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        stream.write([bytes(1000)])
        stream.finish()
        reader, notes = await client.stream()
        node.session.finish()
        await until(lambda: client.session.is_lost)
        assert notes.data == b""
        reader.resume_reading()
        await notes.until_said("lost")
        assert notes.data == bytes(1000)
        assert "eof" in notes.said


async def test_the_end_of_the_connection_is_an_error_where_the_peer_had_not_finished() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        stream.write([bytes(1000)])
        _, notes = await client.stream()
        node.session.close()
        await notes.until_said("lost")
        assert isinstance(notes.error, ConnectionError)


async def test_after_finish_what_the_peer_says_is_dropped() -> None:
    async with two_sides() as (node, client):
        stream = node.session.open_stream(Notes())
        talker, _ = await client.stream()
        stream.finish()
        for _ in range(8):
            talker.write([bytes(INITIAL_WINDOW)])
        talker.finish()
        await notes_of(stream).until_said("lost")
        assert (bytes(notes_of(stream).data), "eof" in notes_of(stream).said) == (b"", False)


async def test_a_reset_is_an_error_of_the_stream_alone() -> None:
    async with two_sides() as (node, client):
        first, second = node.session.open_stream(Notes()), node.session.open_stream(Notes())
        (await client.stream(0))[0].abort()
        await notes_of(first).until_said("lost")
        assert isinstance(notes_of(first).error, ConnectionResetError)
        assert not second.is_lost


async def test_the_end_of_the_connection_ends_every_stream_once() -> None:
    async with two_sides() as (node, client):

        class Meddling(Notes):
            def wire_lost(self, error: Exception | None) -> None:
                node.session.close()
                super().wire_lost(error)

        streams = [node.session.open_stream(Meddling()) for _ in range(3)]
        client.session.close()
        for stream in streams:
            await notes_of(stream).until_said("lost")
        assert [notes_of(stream).said.count("lost") for stream in streams] == [1, 1, 1]
        assert len(node.ended) == 1
        with pytest.raises(ConnectionError, match="session shutdown"):
            node.session.open_stream()


async def test_lent_buffers_may_change_once_write_returns() -> None:
    async with two_sides() as (node, client):

        class Answering(Notes):
            def bytes_received(self, _: memoryview) -> None:
                buffer = bytearray(b"answer")
                stream.write([buffer])
                buffer[:] = b"wrong!"

        stream = node.session.open_stream()
        stream.user = Answering()
        stream.resume_reading()
        asking, notes = await client.stream()
        asking.resume_reading()
        asking.write([b"question"])
        await notes.until(lambda: notes.data == b"answer")


# Peers that break the rules


@pytest.mark.parametrize(
    ("frames", "answer"),
    [
        (b"\1" + OPEN_1[1:], GO_AWAY_PROTOCOL_ERROR),  # another version
        (bytes.fromhex("00 09 0000 00000001 00000000"), GO_AWAY_PROTOCOL_ERROR),  # unknown type
        (OPEN_1 + OPEN_1, GO_AWAY_PROTOCOL_ERROR),
        (OPEN_1 + data(1, b"", 0)[:8] + b"\xff" * 4, GO_AWAY_PROTOCOL_ERROR),
        (OPEN_1 + FIN_1 + FIN_1, GO_AWAY_PROTOCOL_ERROR),
        (bytes.fromhex("00 03 0000 00000000 00000002"), b""),  # the peer's own go-away
    ],
)
async def test_a_peer_that_breaks_the_rules_is_told_and_left(frames: bytes, answer: bytes) -> None:
    async with node_and_raw_peer() as (node, peer):
        await asyncio.to_thread(_send, peer, frames)
        said = await received(peer, 100)
        assert said.removeprefix(ACK_1) == answer
        assert len(node.ended) == 1


async def test_a_peer_that_goes_away_in_the_middle_of_a_header_is_forgotten() -> None:
    async with node_and_raw_peer() as (node, peer):
        peer.sendall(OPEN_1[:6])
        peer.close()
        await until(lambda: node.ended == [None])


async def test_an_overrun_window_ends_the_session() -> None:
    async with node_and_raw_peer() as (node, peer):
        peer.sendall(OPEN_1)
        assert await received(peer, 12) == ACK_1
        frame = data(1, bytes(MIB))
        await asyncio.to_thread(_send, peer, frame * 17)
        assert await received(peer, 100) == GO_AWAY_PROTOCOL_ERROR
        assert isinstance(node.ended[0], Exception)


async def test_frames_for_streams_that_never_were_are_dropped() -> None:
    async with node_and_raw_peer() as (node, peer):
        peer.sendall(data(99, b"hello") + struct.pack(">BBHII", 0, 1, 4, 77, 0) + RST_1 + PING)
        assert await received(peer, 12) == PONG
        assert not node.session.is_lost


async def test_ten_thousand_streams_are_refused_one_by_one() -> None:
    async with node_and_raw_peer() as (node, peer):
        peer.sendall(OPEN_1)
        assert await received(peer, 12) == ACK_1
        opens = [struct.pack(">BBHII", 0, 1, 1, 3 + 2 * n, 0) for n in range(10_000)]
        refusals = [struct.pack(">BBHII", 0, 1, 8, 3 + 2 * n, 0) for n in range(10_000)]
        sending = asyncio.create_task(asyncio.to_thread(_send, peer, b"".join(opens)))
        assert await received(peer, 120_000) == b"".join(refusals)
        await sending
        assert len(node.opened) == 1


async def test_a_flood_of_pings_waits_in_the_peers_own_memory() -> None:
    async with node_and_raw_peer() as (node, peer):
        peer.settimeout(0.3)
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += await asyncio.to_thread(peer.send, PING * 20_000)
        except TimeoutError:
            pass
        assert sent < 64 * MIB
        assert node.wire.backlog < MOST_CONTROL_BACKLOG + 2 * HIGH_WATER_BYTES
        peer.settimeout(20)
        whole = sent // 12 * 12
        assert await received(peer, whole) == PONG * (whole // 12)


async def test_the_node_opens_streams_while_the_peer_says_nothing() -> None:
    async with node_and_raw_peer() as (node, peer):
        node.session.open_stream().write([b"hello"])
        assert await received(peer, 29) == OPEN_2 + data(2, b"hello")


def _send(peer: socket.socket, frames: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        peer.sendall(frames)
