"""Header fields: what is remembered of them is right, and none of them costs too much."""

from collections.abc import Callable

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from gitaly.transport.http2 import Fields, MalformedRequest, encoded
from gitaly.transport.http2.fields import (
    MOST_KNOWN,
    MOST_LIST_BYTES,
    FieldDecoder,
    is_lasting,
    require_request,
)
from gitaly.transport.http2.frames import ErrorCode, ProtocolError

LEAST: Fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"))


def decoder(read: Callable[[Fields], object] = lambda fields: fields) -> FieldDecoder[object]:
    return FieldDecoder(read)


def counting() -> tuple[FieldDecoder[object], list[Fields]]:
    """And what it has had to read."""
    read: list[Fields] = []

    def keep(fields: Fields) -> Fields:
        read.append(fields)
        return fields

    return decoder(keep), read


def code_of(block: bytes) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        decoder().decode(block)
    return caught.value.code


# What is remembered

NAMES = st.sampled_from([b":path", b"te", b"user-agent", b"x-a", b"x-b", b"authorization"])
VALUES = st.sampled_from([b"", b"trailers", b"/a", b"/b", b"secret", b"x" * 60, b"y" * 2000])
BLOCKS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=6)
SIZES = st.one_of(st.none(), st.sampled_from([0, 100, 1000, 4096]))
TURNS = st.lists(st.tuples(BLOCKS, SIZES, st.booleans(), st.integers(1, 3)), max_size=25)


@settings(max_examples=200, deadline=None)
@given(TURNS)
def test_a_block_that_is_remembered_means_what_it_means_to_one_who_remembers_nothing(
    turns: list[tuple[list[tuple[bytes, bytes, bool]], int | None, bool, int]],
) -> None:
    encoder, with_memory, without = Encoder(), decoder(), Decoder()
    for fields, size, huffman, times in turns:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(times):
            block = encoder.encode(fields, huffman=huffman)
            expected = [(bytes(n), bytes(v)) for n, v in without.decode(block, raw=True)]
            assert with_memory.decode(block) == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([encoded(LEAST)])), max_size=12))
def test_whatever_bytes_come_are_fields_or_a_protocol_error(blocks: list[bytes]) -> None:
    with_memory, without = decoder(), Decoder()
    for block in blocks:
        try:
            found = with_memory.decode(block)
        except ProtocolError:
            return
        assert found == [(bytes(n), bytes(v)) for n, v in without.decode(block, raw=True)]


def test_a_block_that_stays_the_same_is_read_once() -> None:
    known, read = counting()
    first = known.decode(encoded(LEAST))
    assert [known.decode(encoded(LEAST)) is first for _ in range(3)] == [True] * 3
    assert read == [list(LEAST)]


def test_a_block_is_read_anew_after_another_one_has_changed_the_table() -> None:
    known = decoder()
    add = Encoder()
    known.decode(add.encode([(b"x", b"old")]))
    entry_62 = b"\xbe"  # the newest one
    assert known.decode(entry_62) == [(b"x", b"old")]
    known.decode(add.encode([(b"x", b"new")]))
    assert known.decode(entry_62) == [(b"x", b"new")]


def test_trailers_that_change_the_table_count_too() -> None:
    known, add = decoder(), Encoder()
    known.decode(add.encode([(b"x", b"old")]))
    assert known.decode(b"\xbe") == [(b"x", b"old")]
    known.fields(add.encode([(b"x", b"new")]))
    assert known.decode(b"\xbe") == [(b"x", b"new")]


def test_a_malformed_request_is_not_remembered_and_leaves_the_table_right() -> None:
    add = Encoder()
    refusing = decoder(require_request_of)
    with pytest.raises(MalformedRequest):
        refusing.decode(add.encode([(b"connection", b"close")]))
    assert refusing.fields(b"\xbe") == [(b"connection", b"close")]


def require_request_of(fields: Fields) -> Fields:
    require_request(fields)
    return fields


def test_only_so_many_blocks_are_remembered() -> None:
    known, read = counting()
    for turn in range(2):
        for n in range(MOST_KNOWN + 10):
            known.decode(encoded([(b"n", b"%d" % n)]))
        assert len(read) == MOST_KNOWN + 10 + turn * 10


def test_a_very_long_block_is_not_remembered() -> None:
    known, read = counting()
    for _ in range(2):
        known.decode(encoded([(b"n", bytes(5000))]))
    assert len(read) == 2


@pytest.mark.parametrize(
    ("block", "answer"),
    [
        (b"", True),
        (b"\x83\x86", True),  # entries of the table
        (b"\x00\x01a\x01b", True),  # not for the table
        (b"\x10\x01a\x01b", True),  # never for a table
        (b"\x0f\x2f\x01b", True),  # with a name of the table, entry 62
        (b"\x40\x01a\x01b", False),  # for the table
        (b"\x44\x01b", False),
        (b"\x83\x20", False),  # another size of it
        (b"\x3f\xe1\x1f", False),
        (b"\x00\x01a\xff\xff\xff\xff\xff\xff\xff\x01", False),  # too long for an integer
    ],
)
def test_it_is_known_which_blocks_leave_the_table_as_it_is(block: bytes, answer: bool) -> None:
    assert is_lasting(block) is answer


# What is refused


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # no entry has the number 0
        b"\xbe",  # nor 62, yet
        b"\xff",  # half an integer
        b"\x00\x05ab",  # half a name
        b"\x00\x01a\x85\xff\xff\xff\xff\xff",  # the end-of-string of Huffman's code
        b"\x83\x20",  # a size of the table after a field
        b"\x3f\xe2\x1f",  # 4097, which we have not allowed
        b"\x00\x01a\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)
def test_what_cannot_be_decoded_ends_the_connection(block: bytes) -> None:
    assert code_of(block) is ErrorCode.COMPRESSION_ERROR


def test_a_size_of_the_table_after_many_fields_ends_the_connection_too() -> None:
    block = encoded([(b"a", bytes(5000))]) + b"\x20" + encoded([(b"b", b"c")])
    assert code_of(block) is ErrorCode.COMPRESSION_ERROR


def test_a_few_bytes_that_stand_for_a_megabyte_end_the_connection() -> None:
    bomb = b"\x40\x01a\x7f\xa1\x1e" + bytes(4000) + b"\xbe" * 300
    assert code_of(bomb) is ErrorCode.ENHANCE_YOUR_CALM


def test_many_fields_of_a_long_block_count_together() -> None:
    block = encoded([(b"a", b"")]) * (MOST_LIST_BYTES // 33 + 1)
    assert code_of(block) is ErrorCode.ENHANCE_YOUR_CALM


def test_a_long_block_that_is_allowed_is_read_whole_and_in_order() -> None:
    fields = [(b"name-%d" % n, b"v" * (n % 300)) for n in range(1000)]
    assert decoder().decode(encoded(fields)) == fields
    assert decoder().decode(Encoder().encode(fields)) == fields


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "block",
    [
        b"\xff" * MOST_LIST_BYTES,
        b"\x00\x01a\x00" * 6_000 + b"\x00\x01b\x7f\xe0\xb6\x0d" + bytes(220_000),
        b"\x00\x01a\xff" + b"\xff" * MOST_LIST_BYTES,
    ],
    ids=["endless integer", "small fields before a large one", "endless size"],
)
def test_no_block_costs_more_than_its_size_allows(block: bytes) -> None:
    """Each of them would take a decoder that is not careful seconds."""
    assert code_of(block) is ErrorCode.COMPRESSION_ERROR


# What is no request


@pytest.mark.parametrize(
    "field",
    [
        (b"", b"x"),
        (b"Upper", b"x"),
        (b"with space", b"x"),
        (b"new\nline", b"x"),
        (b"nul\0", b"x"),
        (b"late:", b"x"),
        (b"\xff", b"x"),
        (b":path", b"/again"),
        (b":status", b"200"),
        (b":late", b"x"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"gzip"),
        (b"x", b"new\nline"),
        (b"x", b"return\r"),
        (b"x", b"nul\0"),
        (b"x", b"\x7f"),
    ],
)
def test_a_field_that_no_request_may_have_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedRequest):
        require_request((*LEAST, field))


@pytest.mark.parametrize("missing", range(3))
def test_a_request_has_its_method_scheme_and_path(missing: int) -> None:
    with pytest.raises(MalformedRequest, match="without"):
        require_request([field for n, field in enumerate(LEAST) if n != missing])


def test_a_path_is_not_empty() -> None:
    with pytest.raises(MalformedRequest, match="without"):
        require_request([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"")])


def test_pseudo_fields_stand_first() -> None:
    with pytest.raises(MalformedRequest, match="misplaced"):
        require_request([*LEAST[:2], (b"x", b"y"), LEAST[2]])


@pytest.mark.parametrize(
    "field", [(b"x", b""), (b"x", b"a\tb"), (b"x", b"\xc3\xa9\xff"), (b"te", b"trailers")]
)
def test_a_field_of_any_other_text_is_fine(field: tuple[bytes, bytes]) -> None:
    require_request((*LEAST, (b":authority", b"node"), field))


# What we send


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 300, 16_510, 16_511, 3_000_000])
def test_what_we_encode_is_what_a_peer_decodes(size: int) -> None:
    fields = [(b"a" * min(size, 500), b"v" * size), (b"b", b"")]
    found = Decoder(max_header_list_size=4_000_000).decode(encoded(fields), raw=True)
    assert list(found) == fields
