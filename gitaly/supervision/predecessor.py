"""The younger process of a restart: takes the listeners over and tells the elder when to go."""

import asyncio
import os
import socket
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Final, Self

from gitaly.errors import NodeError
from gitaly.supervision import handover
from gitaly.supervision.inherited import Inherited

HELLO_SECONDS: Final = 10  # the predecessor has said it before we were born


class LostPredecessor(NodeError):
    """The process that this one should replace does not want it any more."""


class Predecessor:
    """The process that this one replaces."""

    def __init__(self, talk: socket.socket, pid: int, sockets: list[Inherited]) -> None:
        self.pid = pid
        self.sockets = sockets
        self.left = ""  # what it still has to do, in its own words
        self._talk = talk
        self.is_gone = asyncio.Event()

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Self | None:
        """The one that the environment names, and what it passes on; None: this is no restart.

        Blocks for a moment. Raises LostPredecessor.
        """
        number = environment.pop(handover.VARIABLE, "")
        if not number.isdecimal():
            return None
        try:
            os.set_inheritable(int(number), False)
            talk = socket.socket(fileno=int(number))
        except OSError as error:
            raise LostPredecessor(f"{handover.VARIABLE}={number}: {error.strerror}") from error
        try:
            return cls(talk, *_hello(talk))
        except (OSError, handover.Misunderstood, KeyError, TypeError) as error:
            talk.close()
            raise LostPredecessor(
                f"the process before this one cannot be heard: {error}"
            ) from error

    async def my_turn(self) -> None:
        """Say that everything is made; come back once the other accepts nothing more.

        Raises LostPredecessor: it has ended, or has given us up.
        """
        self._talk.setblocking(False)
        await self._say(state=handover.READY)
        while (message := await self._hear()).get("state") != handover.ACCEPT:
            if not message:
                raise LostPredecessor(f"process {self.pid}, which was to be replaced, has gone")

    async def take_over(self, unwanted: Sequence[tuple[str, str]]) -> None:
        """Say that every listener answers, and which of its own are not served any more: kind and
        address in its configuration. Raises LostPredecessor."""
        await self._say(state=handover.SERVING, unwanted=unwanted)

    def failed(self, error: str) -> None:
        """Say why this process gives up. Does not block, and nobody need hear it."""
        with suppress(OSError):
            self._talk.setblocking(False)
            self._talk.send(handover.encoded(state=handover.FAILED, error=error[:1024]))

    async def listen(self) -> None:
        """Keep `left` up to date until it has ended; `is_gone` tells others then."""
        while message := await self._hear():
            if message.get("state") == handover.LEFT:
                self.left = str(message.get("text", ""))
        self.left = ""
        self.is_gone.set()

    def close(self) -> None:
        """Listen to it no more."""
        self._talk.close()

    async def _say(self, **message: object) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._talk, handover.encoded(**message))
        except OSError as error:
            raise LostPredecessor(
                f"process {self.pid}, which was to be replaced, has gone: {error.strerror}"
            ) from error

    async def _hear(self) -> handover.Message:
        """Empty: it has gone."""
        try:
            loop = asyncio.get_running_loop()
            packet = await loop.sock_recv(self._talk, handover.PACKET_BYTES)
            return handover.decoded(packet) if packet else {}
        except (ConnectionError, handover.Misunderstood):
            return {}


def _hello(talk: socket.socket) -> tuple[int, list[Inherited]]:
    talk.settimeout(HELLO_SECONDS)
    packet, descriptors, _, _ = socket.recv_fds(
        talk, handover.PACKET_BYTES, handover.MOST_SOCKETS, socket.MSG_CMSG_CLOEXEC
    )
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    try:
        message = handover.decoded(packet)
        inherited = [
            Inherited(
                socket=listening,
                name=str(said["name"]),
                is_kept=bool(said["is_kept"]),
                kind=str(said["kind"]),
                configured=str(said["configured"]),
            )
            for listening, said in zip(sockets, message["listeners"], strict=True)
        ]
        return int(message["pid"]), inherited
    except (ValueError, KeyError, TypeError) as error:
        for listening in sockets:
            listening.close()
        raise handover.Misunderstood(str(error)) from error
