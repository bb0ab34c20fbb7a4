"""The conversation with a hook program, byte by byte."""

import random

import pytest

from gitaly.hooks import program, wire
from gitaly.hooks.wire import Decoder, Hello, HookProtocolError, Report

BODY = b"2\0update\0refs/heads/main\0A=b=c\0EMPTY="
HELLO = b"gitaly-hook\x01" + len(BODY).to_bytes(4, "big") + BODY
REPORTS = b"\0\0\0\0\0\0\x01\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x07\0\0\0\x20"
WIRE = HELLO + REPORTS
EVENTS = [
    Hello([b"update", b"refs/heads/main"], {b"A": b"b=c", b"EMPTY": b""}),
    Report(256),
    Report(7, 32),
]


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_it_does_not_matter_where_the_socket_cuts(cut: int) -> None:
    decoder = Decoder()
    assert [*decoder.receive(WIRE[:cut]), *decoder.receive(WIRE[cut:])] == EVENTS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PRI * HTTP/2", "not a hook program"),
        (b"x", "not a hook program"),
        (b"gitaly-hook\x02\0\0\0\0", "hook program of version 2, this is 1"),
        (b"gitaly-hook\x01\xff\xff\xff\xff", "4294967295 bytes of arguments and environment"),
        (b"gitaly-hook\x01\0\0\0\0", "a hook program does not say how it was called"),
        (b"gitaly-hook\x01\0\0\0\x03\x30\0a", "a hook program does not say how it was called"),
        (b"gitaly-hook\x01\0\0\0\x03\x32\0a", "a hook program does not say how it was called"),
        (b"gitaly-hook\x01\0\0\0\x04\xb2\0\0a", "a hook program does not say how it was called"),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(HookProtocolError) as raised:
        list(Decoder().receive(data))
    assert raised.value.message == said


def test_the_program_says_what_the_node_understands() -> None:
    [hello] = Decoder().receive(program.greeting([b"/run/pre-receive", b"", b"\xff"]))
    assert isinstance(hello, Hello)
    assert hello.arguments == [b"/run/pre-receive", b"", b"\xff"]
    assert b"PATH" in hello.environment


def test_both_sides_agree_on_numbers() -> None:
    assert program.MAGIC == wire.MAGIC
    assert bytes([wire.VERSION]) == program.VERSION
    assert wire.INSTRUCTION.size == program.HEADER_SIZE
    kinds = [program.FILE, program.COPY, program.WRITE, program.EXIT]
    assert kinds == [kind.value for kind in wire.Kind]


def test_noise_is_refused_or_incomplete_but_never_a_surprise() -> None:
    chance = random.Random(5)
    for _ in range(3000):
        noisy = bytearray(WIRE)
        for _ in range(chance.randrange(1, 6)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        decoder = Decoder()
        try:
            for start in range(0, len(noisy), 7):
                for event in decoder.receive(bytes(noisy[start : start + 7])):
                    assert isinstance(event, Hello | Report)
        except HookProtocolError:
            pass
