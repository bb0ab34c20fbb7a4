"""The other end of the wire: what our own programs use to speak to a node."""

from gitaly.client.calls import CallFailed, Metadata
from gitaly.client.connection import NodeConnection
from gitaly.client.dial import CannotDial, dial
from gitaly.client.duplex import receive_pack, upload_archive
from gitaly.client.standard_streams import OutputClosed
from gitaly.client.upload_pack import upload_pack

__all__ = [
    "CallFailed",
    "CannotDial",
    "Metadata",
    "NodeConnection",
    "OutputClosed",
    "dial",
    "receive_pack",
    "upload_archive",
    "upload_pack",
]
