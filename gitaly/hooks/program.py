"""What git runs as a hook: asks the node, and does with git's streams what the node says.

Each fetch and each phase of a push starts one, so it imports nothing that is not compiled into
the interpreter, and nothing of this package: `installation` puts a compiled copy where git finds
it. The conversation is described, and spoken from the other side, in `wire`.
"""

import _socket
import posix
import sys

MAGIC = b"gitaly-hook"
VERSION = b"\x01"
FAILED = b"error executing git hook\n"
HEADER_SIZE = 17
FILE, COPY, WRITE, EXIT = 1, 2, 3, 4
ONE_DESCRIPTOR = 24  # CMSG_SPACE of an int, with room to spare
MOST_AT_ONCE = 1 << 30  # bytes that one sendfile is asked for
CLOSE_ON_EXEC = _socket.MSG_CMSG_CLOEXEC
EIO, EINVAL, ENOSYS = 5, 22, 38


def greeting(arguments: list[bytes]) -> bytes:
    """What is said first: who is called, how, and with which environment. Source: wire.Hello."""
    words = [str(len(arguments)).encode(), *arguments]
    words += [name + b"=" + value for name, value in posix.environ.items()]
    body = b"\0".join(words)
    return MAGIC + VERSION + len(body).to_bytes(4, "big") + body


def copy(file: int, start: int, end: int) -> tuple[int, int]:
    """Move a part of a file to stdout; how much was moved, and the error that ended it, or 0.

    Less without an error: the file is shorter.
    """
    at = start
    try:
        while at < end:
            moved = posix.sendfile(1, file, at, min(end - at, MOST_AT_ONCE))
            if not moved:
                break
            at += moved
    except OSError as error:
        if error.errno in (EINVAL, ENOSYS) and at == start:  # not every file system can do it
            return copy_by_hand(file, start, end)
        return at - start, error.errno or EIO
    return at - start, 0


def copy_by_hand(file: int, start: int, end: int) -> tuple[int, int]:
    """The same, through our memory."""
    at = start
    try:
        while at < end:
            piece = posix.pread(file, min(end - at, 1 << 18), at)
            if not piece:
                break
            write(1, piece)
            at += len(piece)
    except OSError as error:
        return at - start, error.errno or EIO
    return at - start, 0


def write(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[posix.write(descriptor, left) :]


class Node:
    """The connection to the node."""

    def __init__(self, address: bytes) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.connect(address)
        self._buffer = b""
        self._files: list[int] = []

    def greet(self, data: bytes) -> None:
        """Say hello and hand our standard streams over."""
        streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)]
        sent = self._socket.sendmsg([data], rights)
        if sent < len(data):  # to send nothing would fail if the node had answered already
            self._socket.sendall(data[sent:])

    def receive(self, size: int) -> bytes:
        """So many bytes. Raises OSError if the node is gone."""
        while len(self._buffer) < size:
            data, ancillary, _, _ = self._socket.recvmsg(1 << 16, ONE_DESCRIPTOR, CLOSE_ON_EXEC)
            for _, _, rights in ancillary:
                self._files.append(int.from_bytes(rights[:4], sys.byteorder))
            if not data:
                raise OSError
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def report(self, moved: int, error: int) -> None:
        """Say what became of a copy or of a writing."""
        self._socket.sendall(moved.to_bytes(8, "big") + error.to_bytes(4, "big"))

    def obey(self) -> int:
        """Do what the node says, until it says with which status to end."""
        file = -1
        while True:
            header = self.receive(HEADER_SIZE)
            kind = header[0]
            first = int.from_bytes(header[1:9], "big")
            second = int.from_bytes(header[9:], "big")
            if kind == EXIT:
                return first
            if kind == FILE:
                if file >= 0:
                    posix.close(file)
                file = self._files.pop(0)
            elif kind == COPY:
                self.report(*copy(file, first, second))
            elif kind == WRITE:
                self.write(first, self.receive(second))
            else:
                raise OSError

    def write(self, descriptor: int, data: bytes) -> None:
        """Stdout is reported, stderr is not: nobody waits for what it says."""
        error = 0
        try:
            write(descriptor, data)
        except OSError as broken:
            error = broken.errno or EIO
        if descriptor == 1:
            self.report(0 if error else len(data), error)


def main(address: bytes, arguments: list[bytes]) -> None:
    """Ask the node at a unix socket; does not return."""
    try:
        node = Node(address)
        node.greet(greeting(arguments))
        status = node.obey()
    except (OSError, IndexError):
        status = 1
        try:
            write(2, FAILED)
        except OSError:
            status = 1  # nobody listens
    posix._exit(status)  # without the interpreter's long farewell
