"""Nodes that can be killed."""

import socket

from tests.e2e.node_process import NodeProcess


class Reachable(NodeProcess):
    """A node in a process of its own, as Praefect connects to it."""

    def connect(self, kind: str = "tcp") -> socket.socket:
        assert kind == "tcp"
        return socket.create_connection(("127.0.0.1", self.tcp))
