import pytest

from gitaly.errors import NodeError
from gitaly.transport.filter_process import (
    CONTENT_LIMIT_BYTES,
    FilterProcess,
    beginning,
    content,
    ending,
    refusal,
)
from gitaly.transport.pktline import FLUSH, MAX_DATA, encode


def lines(*texts: bytes) -> bytes:
    return b"".join(map(encode, texts)) + FLUSH


WELCOME = lines(b"git-filter-client\n", b"version=2\n")
CAPABILITIES = lines(b"capability=clean\n", b"capability=smudge\n", b"capability=delay\n")
COMMAND = lines(b"command=smudge\n", b"pathname=a\n", b"treeish=HEAD\n")
SAID = WELCOME + CAPABILITIES + COMMAND + lines(b"one", b"two") + COMMAND + lines()
ANSWERED = lines(b"git-filter-server\n", b"version=2\n") + lines(b"capability=smudge\n")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, len(SAID)])
def test_what_git_says_is_understood_wherever_it_is_cut(size: int) -> None:
    process, sent, contents = FilterProcess(), b"", []
    for start in range(0, len(SAID), size):
        sent += b"".join(process.receive(SAID[start : start + size]))
        found = process.take_content()
        if found is not None:
            contents.append(found)
    assert sent == ANSWERED
    assert contents[-1] == b""
    assert size == len(SAID) or contents == [b"onetwo", b""]


@pytest.mark.parametrize(
    "said",
    [
        lines(b"git-filter-server\n", b"version=2\n"),
        lines(b"git-filter-client\n", b"version=3\n"),
        WELCOME + lines(b"capability=clean\n"),
        WELCOME + CAPABILITIES + lines(b"command=clean\n"),
        WELCOME + CAPABILITIES + lines(),
        b"nonsense",
    ],
)
def test_what_is_not_understood_ends_the_conversation(said: bytes) -> None:
    with pytest.raises(NodeError):
        list(FilterProcess().receive(said))


def test_a_file_is_not_collected_without_end() -> None:
    process = FilterProcess()
    list(process.receive(WELCOME + CAPABILITIES + COMMAND))
    packet = encode(b"x" * MAX_DATA)
    with pytest.raises(NodeError, match="too large"):
        for _ in range(CONTENT_LIMIT_BYTES // MAX_DATA + 2):
            list(process.receive(packet))


def test_answers_are_packets() -> None:
    assert refusal() == lines(b"status=error\n")
    assert beginning() == lines(b"status=success\n")
    assert [len(packet) for packet in content(b"x" * 70_000)] == [65_520, 70_000 - MAX_DATA + 4]
    assert ending(is_whole=True) == FLUSH + FLUSH
    assert ending(is_whole=False) == FLUSH + lines(b"status=error\n")
