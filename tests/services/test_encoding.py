"""Fields encoded by hand are what protobuf would have written."""

import pytest

from gitaly._pb.ref_pb2 import ListRefsResponse
from gitaly._pb.shared_pb2 import Branch
from gitaly.services.encoding import field, varint
from gitaly.services.ref.list_refs import reference_field

SIZES = [1, 2, 79, 80, 81, 127, 128, 129, 2047, 2048, 16383, 16384, 300_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_field_of_any_size_is_read_back(size: int) -> None:
    data = b"x" * size
    assert field(1, data) == Branch(name=data).SerializeToString()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("peeled", ["", "2" * 40, "2" * 64])
def test_a_reference_is_encoded_as_the_message_is(size: int, peeled: str) -> None:
    name, target = b"\xff" * size, "1" * (len(peeled) or 40)
    reference = ListRefsResponse.Reference(name=name, target=target, peeled_target=peeled)
    expected = ListRefsResponse(references=[reference]).SerializeToString()
    assert reference_field(name, target, peeled) == expected


def test_numbers_have_as_many_bytes_as_they_need() -> None:
    assert varint(0) == b"\0"
    assert varint(127) == b"\x7f"
    assert varint(300) == b"\xac\x02"
