"""What two processes say to each other while one takes the place of the other.

A socket pair of packets, each a JSON object; members that the other side does not know are ignored,
so that versions may differ. The older process begins:

    old → new   {"version": 1, "pid": 99, "listeners": [{kind, configured, name, is_kept}…]}
                with the listening sockets, in that order, as descriptors
    new → old   {"state": "ready"}      everything is made and bound, nothing accepted yet
    old → new   {"state": "accept"}     I accept nothing for the moment; it is your turn
    new → old   {"state": "serving", "unwanted": [[kind, configured]…]}
                every listener answers: you may go, and with you the listeners that I have not taken
    old → new   {"state": "left", "text": "3 clones left, oldest 12 min"}, again and again
    old ends the conversation: it is gone

    new → old   {"state": "failed", "error": "…"}, or the end, before "serving": the old one goes
                on, with the sockets that it never closed
"""

import json
import socket
from typing import Any, Final

VERSION: Final = 1
VARIABLE: Final = "GITALY_PREDECESSOR"  # the descriptor of the conversation
PACKET_BYTES: Final = 1 << 16
MOST_SOCKETS: Final = 16
READY: Final = "ready"
ACCEPT: Final = "accept"
SERVING: Final = "serving"
FAILED: Final = "failed"
LEFT: Final = "left"
Message = dict[str, Any]  # JSON, from another version of ourselves perhaps


class Misunderstood(ValueError):
    """A packet is not one of these."""


def encoded(**message: object) -> bytes:
    """A packet."""
    return json.dumps(message).encode()


def decoded(packet: bytes) -> Message:
    """Raises Misunderstood."""
    try:
        message = json.loads(packet)
    except ValueError as error:
        raise Misunderstood(str(error)) from error
    if not isinstance(message, dict):
        raise Misunderstood("not an object")
    return message


def conversation() -> tuple[socket.socket, socket.socket]:
    """Two ends; each packet arrives whole, and the end of one is seen at the other."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
