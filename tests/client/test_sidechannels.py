"""Streams that a node opens to its client: two real sessions, the test says what the node says."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitaly._pb.server_pb2 import ServerInfoRequest, ServerInfoResponse
from gitaly.client import CallFailed, dial
from gitaly.client.sidechannels import OPENING_SECONDS, Sidechannels
from gitaly.transport.channel import Channel
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.sidechannel import SidechannelFailed
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import NODE_LIMITS, Limits
from tests.faults.nodes import a_node
from tests.transport.sessions import Side
from tests.transport.wires import Notes, unix_pair

MAGIC = b"sidechannel"


def greeting(number: int) -> bytes:
    return MAGIC + struct.pack(">q", number)


@dataclass
class Pair:
    """A client's registry, and the node that opens streams to it."""

    node: Side
    sidechannels: Sidechannels

    def opened(self, *said: bytes) -> tuple[MuxStream, Notes]:
        """A stream of the node, and what becomes of it."""
        notes = Notes()
        stream = self.node.session.open_stream(notes)
        stream.resume_reading()
        for words in said:
            stream.write([words])
        return stream, notes


@asynccontextmanager
async def a_pair(opening_seconds: float = OPENING_SECONDS) -> AsyncIterator[Pair]:
    sidechannels = Sidechannels(opening_seconds)
    ours, theirs = unix_pair()
    theirs.setblocking(False)
    node = Side(ours, is_client=False, limits=NODE_LIMITS)

    def opened(stream: MuxStream) -> None:
        sidechannels.stream_opened(client, stream)

    client = MuxSession(SocketWire(theirs), is_client=True, limits=Limits(), on_stream=opened)
    client.start()
    yield Pair(node, sidechannels)
    node.session.close()
    client.close()
    await asyncio.sleep(0)


async def test_offers_are_numbered_from_zero() -> None:
    sidechannels = Sidechannels()
    with sidechannels.offer() as first, sidechannels.offer() as second:
        assert first.metadata == (("gitaly-sidechannel-id", "0"),)
        assert second.metadata == (("gitaly-sidechannel-id", "1"),)


async def test_the_stream_of_an_offer_is_confirmed_with_ok() -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            stream, notes = pair.opened(greeting(0))
            channel = await offer.opened
            await notes.until(lambda: notes.data == b"ok")
            stream.write([b"hello"])
            assert await channel.read() == b"hello"


async def test_what_follows_the_greeting_at_once_is_the_streams() -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            pair.opened(greeting(0) + b"hello")
            channel = await offer.opened
            assert await channel.read() == b"hello"


@pytest.mark.parametrize("cut", range(1, 19))
async def test_a_greeting_may_come_in_pieces(cut: int) -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            pair.opened(greeting(0)[:cut], greeting(0)[cut:])
            assert isinstance(await offer.opened, Channel)


async def test_each_stream_goes_to_the_offer_that_it_names() -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as first, pair.sidechannels.offer() as second:
            pair.opened(greeting(1) + b"second")
            pair.opened(greeting(0) + b"first")
            assert await (await first.opened).read() == b"first"
            assert await (await second.opened).read() == b"second"


@pytest.mark.parametrize("number", [1, 7, -1, 2**63 - 1, -(2**63)])
async def test_a_stream_for_an_unknown_number_is_closed_without_ok(number: int) -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            stream, notes = pair.opened(greeting(number))
            await notes.until_said("eof")
            stream.finish()
            await notes.until_said("lost")
            assert (bytes(notes.data), notes.error) == (b"", None)
            assert not offer.opened.done()


async def test_an_offer_is_taken_only_once() -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            pair.opened(greeting(0))
            await offer.opened
            _, notes = pair.opened(greeting(0))
            await notes.until_said("eof")
            assert notes.data == b""


async def test_an_offer_is_good_only_as_long_as_its_call() -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer():
            pass
        _, notes = pair.opened(greeting(0))
        await notes.until_said("eof")
        assert notes.data == b""


async def test_a_stream_for_an_offer_that_nobody_waits_for_any_more_is_closed() -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            offer.opened.cancel()
            _, notes = pair.opened(greeting(0))
            await notes.until_said("eof")
            assert notes.data == b""
            assert not pair.node.session.is_lost


@pytest.mark.parametrize("words", [b"x", b"side-channel", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_a_stream_that_says_something_else_than_the_magic_is_reset(words: bytes) -> None:
    async with a_pair() as pair:
        with pair.sidechannels.offer() as offer:
            _, notes = pair.opened(words)
            await notes.until_said("lost")
            assert isinstance(notes.error, ConnectionResetError)
            assert (bytes(notes.data), offer.opened.done()) == (b"", False)


async def test_a_stream_that_ends_in_its_greeting_is_reset() -> None:
    async with a_pair() as pair:
        stream, notes = pair.opened(greeting(0)[:-1])
        stream.finish()
        await notes.until_said("lost")
        assert notes.data == b""


@pytest.mark.parametrize("words", [b"", MAGIC, greeting(0)[:-1]])
async def test_a_stream_that_does_not_greet_in_time_is_reset(words: bytes) -> None:
    async with a_pair(opening_seconds=0.01) as pair:
        with pair.sidechannels.offer() as offer:
            _, notes = pair.opened(words)
            await notes.until_said("lost")
            assert isinstance(notes.error, ConnectionResetError)
            assert (bytes(notes.data), offer.opened.done()) == (b"", False)


def test_a_greeting_may_take_five_seconds() -> None:
    assert OPENING_SECONDS == 5


async def test_a_call_for_which_no_stream_was_opened_has_failed(tmp_path: Path) -> None:
    async def serve(_: Channel) -> None:
        raise AssertionError("there is no stream")

    async with a_node(tmp_path) as served, dial(served.address("unix")) as node:
        with pytest.raises(SidechannelFailed) as failed:
            await node.with_sidechannel(
                "/gitaly.ServerService/ServerInfo", ServerInfoRequest(), ServerInfoResponse, serve
            )
    assert str(failed.value) == "sidechannel: callback de-registered without having run"


async def test_an_error_of_the_node_goes_before_a_stream_that_never_was(tmp_path: Path) -> None:
    async def serve(_: Channel) -> None:
        raise AssertionError("there is no stream")

    async with a_node(tmp_path) as served, dial(served.address("unix")) as node:
        with pytest.raises(CallFailed) as failed:
            await node.with_sidechannel(
                "/gitaly.ServerService/Nothing", ServerInfoRequest(), ServerInfoResponse, serve
            )
    assert failed.value.go_text.startswith("rpc error: code = Unimplemented desc = ")
