"""Reads along what a client tells upload-pack, for statistics, logs and time limits.

Source: gitprotocol-pack(5), gitprotocol-v2(5); Gitaly, internal/git/stats/packfile_negotiation.go
and internal/git/pktline/read_monitor.go.
"""

from dataclasses import dataclass, field

from gitaly.transport.pktline import FLUSH, LENGTH_SIZE, PktLineError, PktLineReader, encode

DONE = encode(b"done\n")  # ends the negotiation of upload-pack
END_OF_ARGUMENTS = FLUSH  # ends that of upload-archive


@dataclass(slots=True)
class Negotiation:
    """What the client has said so far. Text that is not UTF-8 has U+FFFD in its place."""

    payload_size: int = 0  # bytes without lengths and without one newline at the end of a line
    packets: int = 0  # also flush and delim; not the "done" at the end
    caps: list[str] = field(default_factory=list)  # of protocol v0 and v1
    wants: int = 0
    haves: int = 0
    shallows: int = 0
    deepen: str = ""  # the whole line, e.g. "deepen 1", "deepen-not refs/heads/main"
    filter: str = ""  # e.g. "blob:none"
    command: str = ""  # of protocol v2: "ls-refs", "fetch"
    user_agent: str = ""  # e.g. "git/2.53.0"


class NegotiationParser:
    """Counts while the bytes from the client to git pass by; never raises for what they are.

    After `is_finished` the parser has no work left: `error` says why, unless `done` was seen.
    """

    def __init__(self) -> None:
        self.result = Negotiation()
        self.done = False
        self.error: str | None = None
        self._reader = PktLineReader()

    @property
    def is_finished(self) -> bool:
        """Nothing more will be read: spare yourself the calls."""
        return self.done or self.error is not None

    @property
    def saw_deepen(self) -> bool:
        """Whether upload-pack may fail without harm: over HTTP, a shallow clone asks first and
        ends the request there. False after an error, whatever had been read before."""
        return self.error is None and bool(self.result.deepen)

    def feed(self, data: bytes | memoryview) -> None:
        """More bytes, cut anywhere."""
        if self.is_finished:
            return
        try:
            for packet in self._reader.receive(data):
                self._line(packet[LENGTH_SIZE:].removesuffix(b"\n"))
                if self.done:
                    self._reader = PktLineReader()
                    return
                self.result.packets += 1
        except PktLineError as error:
            self.error = error.message
            self._reader = PktLineReader()

    def at_end(self) -> None:
        """The client sends no more: a packet that is not complete is an error."""
        if self.is_finished:
            return
        try:
            self._reader.at_end()
        except PktLineError as error:
            self.error = error.message

    def _line(self, line: bytes) -> None:
        result = self.result
        result.payload_size += len(line)
        word, *arguments = line.split(b" ")
        match word:
            case b"have":
                self._expect_one(word, arguments)
                result.haves += 1
            case b"want":
                self._want(arguments)
            case b"shallow":
                self._expect_one(word, arguments)
                result.shallows += 1
            case b"deepen" | b"deepen-since" | b"deepen-not":
                self._expect_one(b"deepen", arguments)
                result.deepen = _text(line)
            case b"filter":
                self._expect_one(word, arguments)
                result.filter = _text(arguments[0])
            case b"done":
                self.done = True
            case _ if word.startswith(b"command="):
                result.command = _text(word.removeprefix(b"command="))
            case _ if word.startswith(b"agent="):
                result.user_agent = _text(word.removeprefix(b"agent="))

    def _want(self, arguments: list[bytes]) -> None:
        if not arguments:
            raise self._invalid(b"want")
        caps = [_text(cap) for cap in arguments[1:]]
        if caps and self.result.caps:
            raise PktLineError(
                f"capabilities announced multiple times in packet {self.result.packets}"
            )
        self.result.wants += 1
        if caps:
            self.result.caps = caps
            agent = next((cap for cap in caps if cap.startswith("agent=")), None)
            if agent is not None:
                self.result.user_agent = agent.removeprefix("agent=")

    def _expect_one(self, word: bytes, arguments: list[bytes]) -> None:
        if len(arguments) != 1:
            raise self._invalid(word)

    def _invalid(self, word: bytes) -> PktLineError:
        return PktLineError(f"invalid '{word.decode()}' for packet {self.result.packets}")


class PacketWatcher:
    """Waits for one packet, exactly: DONE or END_OF_ARGUMENTS. Stops the negotiation's time limit.

    Who gets access has been decided before git starts; without a limit a client could use that
    decision much later. When `error` is set the stream cannot be parsed, and the packet can't be
    recognized any more: the limit is to be given up, and the bytes still go to git.
    """

    def __init__(self, packet: bytes) -> None:
        self.seen = False
        self.error: str | None = None
        self._packet = packet
        self._reader = PktLineReader()

    @property
    def is_finished(self) -> bool:
        """Nothing more will be read: spare yourself the calls."""
        return self.seen or self.error is not None

    def feed(self, data: bytes | memoryview) -> None:
        """More bytes, cut anywhere."""
        if self.is_finished:
            return
        try:
            self.seen = self._packet in self._reader.receive(data)
        except PktLineError as error:
            self.error = error.message
        if self.is_finished:
            self._reader = PktLineReader()

    def at_end(self) -> None:
        """The client sends no more: a packet that is not complete is an error."""
        if self.is_finished:
            return
        try:
            self._reader.at_end()
        except PktLineError as error:
            self.error = error.message


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
