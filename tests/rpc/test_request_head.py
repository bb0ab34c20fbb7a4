"""What the fields of a request say about a call. Source: gRPC over HTTP/2, Requests."""

import base64

import pytest

from gitaly.rpc.request_head import RequestHead, read_head
from gitaly.transport.http2 import MalformedRequest

FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/gitaly.RefService/ListRefs"),
    (b":authority", b"node"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


def head(*more: tuple[bytes, bytes], without: bytes = b"") -> RequestHead:
    return read_head([*(f for f in FIELDS if f[0] != without), *more])


def test_a_call_has_a_path_and_neither_deadline_nor_metadata_of_its_own() -> None:
    found = head()
    assert (found.path, found.is_grpc) == ("/gitaly.RefService/ListRefs", True)
    assert (found.timeout_seconds, found.encoding) == (None, "identity")
    assert (found.metadata, found.all_metadata) == ({}, ())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"2H", 7200.0),
        (b"3M", 180.0),
        (b"4S", 4.0),
        (b"5m", 0.005),
        (b"6u", 6e-6),
        (b"7n", 7e-9),
        (b"0n", 0.0),
        (b"99999999H", 359_999_996_400.0),
    ],
)
def test_a_timeout_has_a_unit(text: bytes, seconds: float) -> None:
    assert head((b"grpc-timeout", text)).timeout_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [b"", b"1", b"S", b"-1S", b"1.5S", b"1s", b"123456789S", b"1S ", b" 1S", b"1SS", b"1\xb2S"],
)
def test_a_timeout_that_is_none_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedRequest):
        head((b"grpc-timeout", text))


@pytest.mark.parametrize(
    ("kind", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_a_call_is_known_by_its_content_type(kind: bytes, is_grpc: bool) -> None:
    assert head((b"content-type", kind), without=b"content-type").is_grpc is is_grpc


def test_a_request_without_a_content_type_is_no_call() -> None:
    assert not head(without=b"content-type").is_grpc


def test_a_get_is_no_call() -> None:
    fields = [(b":method", b"GET"), *FIELDS[1:]]
    assert not read_head(fields).is_grpc


def test_of_several_values_the_first_one_counts_and_all_are_kept() -> None:
    found = head((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert found.metadata == {"a": "1", "b": "2"}
    assert found.all_metadata == (("a", "1"), ("b", "2"), ("a", "3"))


def test_fields_of_grpc_itself_are_not_metadata() -> None:
    found = head((b"grpc-timeout", b"1S"), (b"grpc-encoding", b"gzip"), (b"user-agent", b"me"))
    assert found.encoding == "gzip"
    assert found.metadata == {"user-agent": "me"}


def test_a_text_of_any_bytes_is_kept_byte_by_byte() -> None:
    assert head((b"a", b"\xc3\xa9\xff")).metadata == {"a": "\xc3\xa9\xff"}


@pytest.mark.parametrize("size", range(6))
@pytest.mark.parametrize("is_padded", [True, False])
def test_a_binary_value_is_decoded_with_its_padding_or_without(size: int, is_padded: bool) -> None:
    text = base64.b64encode(b"\xff\xfe\0abc"[:size])
    found = head((b"x-bin", text if is_padded else text.rstrip(b"=")))
    assert found.all_metadata == (("x-bin", b"\xff\xfe\0abc"[:size]),)
    assert found.metadata == {}


def test_several_binary_values_may_stand_in_one_field() -> None:
    assert head((b"x-bin", b"YQ,Yg==, Yw")).all_metadata == (
        ("x-bin", b"a"),
        ("x-bin", b"b"),
        ("x-bin", b"c"),
    )


@pytest.mark.parametrize("text", [b"a", b"?", b"YQ=", b"Y\tQ", b"YQ==YQ==", b"-_-_"])
def test_a_binary_value_that_is_none_is_malformed(text: bytes) -> None:
    if text == b"YQ=":  # one sign of padding is missing: it is added
        assert head((b"x-bin", text)).all_metadata == (("x-bin", b"a"),)
        return
    with pytest.raises(MalformedRequest):
        head((b"x-bin", text))
