"""A fetch: git's own client at our standard streams, git upload-pack at the node."""

from collections.abc import Callable
from typing import Final

from gitaly._pb.ssh_pb2 import (
    SSHUploadPackWithSidechannelRequest,
    SSHUploadPackWithSidechannelResponse,
)
from gitaly.client.connection import NodeConnection
from gitaly.client.standard_streams import Buffer, Input, Output
from gitaly.tasks import background
from gitaly.transport.channel import Channel
from gitaly.transport.sideband import STDERR, STDOUT, SidebandDecoder
from gitaly.transport.sidechannel import InputEncoder

METHOD: Final = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
READ_BYTES: Final = 64 * 1024


async def upload_pack(
    node: NodeConnection,
    request: SSHUploadPackWithSidechannelRequest,
    on_answer: Callable[[], None] = lambda: None,  # before git's first byte
) -> None:
    """Run it to its end. Raises CallFailed, SidechannelFailed, OutputClosed, ConnectionError."""

    async def serve(channel: Channel) -> None:
        async with background(_send(channel)):
            await _receive(channel, on_answer)

    await node.with_sidechannel(METHOD, request, SSHUploadPackWithSidechannelResponse, serve)


async def _send(channel: Channel) -> None:
    source, encoder = Input(0), InputEncoder()
    while data := await source.read(READ_BYTES):
        await channel.room()
        channel.write(encoder.encode(memoryview(data)))
    channel.write((encoder.finish(),))


async def _receive(channel: Channel, on_answer: Callable[[], None]) -> None:
    outputs = {STDOUT: Output(1), STDERR: Output(2)}
    decoder = SidebandDecoder()
    try:
        while data := await channel.read():
            waiting: dict[int, list[Buffer]] = {STDOUT: [], STDERR: []}
            for band, piece in decoder.receive(memoryview(data)):
                waiting.setdefault(band, []).append(piece)
            if waiting[STDOUT]:
                on_answer()
            for band, output in outputs.items():
                await output.write(waiting[band])
        decoder.at_end()
    finally:
        for output in outputs.values():
            output.close()
