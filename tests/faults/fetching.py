"""A fetch that begins, waits until it may go on, and gives back what it got."""

import asyncio

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import (
    SSHUploadPackWithSidechannelRequest,
    SSHUploadPackWithSidechannelResponse,
)
from gitaly.client import dial
from gitaly.transport.channel import Channel
from gitaly.transport.sideband import STDOUT, SidebandDecoder
from gitaly.transport.sidechannel import InputEncoder
from tests.interop.requests import SSH, stateful_fetch


class SlowFetch:
    """Over SSH, in version 0; of one commit and all that is behind it."""

    def __init__(self, address: str, commit: str) -> None:
        self.has_begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self._address = address
        self._commit = commit
        self._said = bytearray()

    async def run(self) -> bytes:
        """What git said at the node, up to its end."""
        request = SSHUploadPackWithSidechannelRequest(
            repository=Repository(storage_name="default", relative_path="a.git")
        )
        async with dial(self._address) as node:
            await node.with_sidechannel(
                SSH, request, SSHUploadPackWithSidechannelResponse, self._serve
            )
        return bytes(self._said)

    async def _serve(self, channel: Channel) -> None:
        encoder, decoder = InputEncoder(), SidebandDecoder()
        channel.write(encoder.encode(memoryview(stateful_fetch(self._commit))))
        channel.write((encoder.finish(),))
        while data := await channel.read():
            for band, piece in decoder.receive(memoryview(data)):
                if band == STDOUT:
                    self._said += piece
            if b"PACK" in self._said and not self.has_begun.is_set():
                self.has_begun.set()
                await self.go_on.wait()
        decoder.at_end()
