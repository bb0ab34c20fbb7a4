"""HTTP/1.1 as far as the internal API needs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitaly.hooks.gitlab.http_wire import (
    MOST_BODY_BYTES,
    MOST_HEAD_BYTES,
    ProtocolError,
    Request,
    Response,
    ResponseReader,
)

BY_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: yes\r\n\r\n"
)
TO_THE_END = b"HTTP/1.0 500 Oh\r\nServer: x\r\n\r\nuntil the end"


def read(wire: bytes, cut: int) -> Response:
    reader = ResponseReader()
    return reader.receive(wire[:cut]) or reader.receive(wire[cut:]) or reader.at_end()


@pytest.mark.parametrize(
    ("wire", "status", "body"),
    [
        (BY_LENGTH, 200, b"{}"),
        (CHUNKED, 401, b"abc0123456789"),
        (TO_THE_END, 500, b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
)
def test_a_response_does_not_depend_on_where_the_network_cuts_it(
    wire: bytes, status: int, body: bytes
) -> None:
    for cut in range(len(wire) + 1):
        response = read(wire, cut)
        assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize("wire", [BY_LENGTH, CHUNKED])
def test_a_response_that_breaks_off_is_an_error(wire: bytes) -> None:
    for end in range(len(wire)):
        reader = ResponseReader()
        assert reader.receive(wire[:end]) is None
        with pytest.raises(ProtocolError):
            reader.at_end()


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"x" * (MOST_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MOST_BODY_BYTES + 1),
    ],
    ids=range(10),
)
def test_what_is_not_http_is_an_error(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseReader().receive(wire)


@given(st.lists(st.binary(max_size=64)))
def test_no_bytes_do_more_than_raise_a_protocol_error(pieces: list[bytes]) -> None:
    reader = ResponseReader()
    try:
        for piece in (b"HTTP/1.1 200 OK\r\n", *pieces):
            reader.receive(piece)
        reader.at_end()
    except ProtocolError:
        pass


def test_a_request_says_whom_it_asks_and_how_long_it_is() -> None:
    request = Request(method="POST", host="h:1", target="/x", headers=[("A", "b")], body=b"12")
    assert request.encode() == (
        b"POST /x HTTP/1.1\r\nHost: h:1\r\nA: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n12"
    )


def test_a_header_cannot_bring_another_header_along() -> None:
    with pytest.raises(ValueError, match="control character"):
        Request(method="GET", host="h", target="/", headers=[("A", "b\r\nC: d")]).encode()


def test_a_media_type_has_no_parameters() -> None:
    response = Response(status=200, headers={"content-type": "Application/JSON; charset=utf-8"})
    assert response.media_type == "application/json"
