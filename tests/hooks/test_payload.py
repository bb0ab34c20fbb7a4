"""The hooks payload, in the form that the reference's hook program reads."""

import base64
import json

import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly.hooks import (
    BadPayload,
    Payload,
    Requested,
    UserDetails,
)
from gitaly.transactions import Transaction

FULL = Payload(
    requested_hooks=Requested.UPDATE | Requested.PRE_RECEIVE,
    repository=Repository(
        storage_name="default",
        relative_path="a.git",
        git_object_directory="objects/incoming",
        git_alternate_object_directories=["objects"],
        gl_repository="project-1",
        gl_project_path="group/a",
    ),
    object_format="sha256",
    runtime_dir="/run/gitaly-1",
    internal_socket="/run/gitaly-1/sock.d/intern",
    internal_socket_token="secret",
    transaction=Transaction(id=7, node="praefect-1", primary=True, backchannel_id=3),
    user_details=UserDetails(
        username="jane", userid="user-1", protocol="ssh", remote_ip="10.0.0.1"
    ),
    client_context=b"\x00\xff",
    feature_flags=(("some_flag", False, True),),
    log_fields={"correlation_id": "abc"},
)
JSON = {
    "requested_hooks": 6,
    "feature_flags_with_value": [
        {"flag": {"name": "some_flag", "on_by_default": False}, "enabled": True}
    ],
    "repository": '{"storageName":"default","relativePath":"a.git",'
    '"gitObjectDirectory":"objects/incoming","gitAlternateObjectDirectories":["objects"],'
    '"glRepository":"project-1","glProjectPath":"group/a"}',
    "object_format": "sha256",
    "runtime_dir": "/run/gitaly-1",
    "internal_socket": "/run/gitaly-1/sock.d/intern",
    "internal_socket_token": "secret",
    "transaction": {"backchannel_id": 3, "id": 7, "node": "praefect-1", "primary": True},
    "user_details": {
        "username": "jane",
        "userid": "user-1",
        "protocol": "ssh",
        "remote_ip": "10.0.0.1",
    },
    "gitaly_client_context": "AP8=",
    "LogFields": {"correlation_id": "abc"},
}


def encoded(fields: object) -> bytes:
    return base64.b64encode(json.dumps(fields).encode())


def test_a_payload_has_the_reference_s_form() -> None:
    assert json.loads(base64.b64decode(FULL.encode())) == JSON


def test_a_payload_comes_back_as_it_was() -> None:
    assert Payload.decode(FULL.encode()) == FULL
    assert Payload.decode(encoded(JSON)) == FULL


def test_what_is_empty_is_left_out_or_null() -> None:
    small = Payload(
        requested_hooks=Requested.PACK_OBJECTS,
        repository=Repository(storage_name="default", relative_path="a.git"),
    )
    assert json.loads(base64.b64decode(small.encode())) == {
        "requested_hooks": 16,
        "repository": '{"storageName":"default","relativePath":"a.git"}',
        "object_format": "sha1",
        "runtime_dir": "",
        "internal_socket": "",
        "internal_socket_token": "",
        "transaction": None,
        "user_details": None,
        "LogFields": {},
    }
    assert Payload.decode(small.encode()) == small


def test_without_bits_all_hooks_but_proc_receive_are_meant() -> None:
    assert Payload.decode(encoded({})).requested_hooks == Requested(31)


WRONG: list[dict[str, object]] = [
    {"repository": "{"},
    {"repository": 1},
    {"user_details": []},
    {"requested_hooks": "x"},
    {"gitaly_client_context": "?"},
    {"gitaly_client_context": "\u00e9"},
]


@pytest.mark.parametrize(
    "value",
    [None, "", "no base64!", b"\xff", base64.b64encode(b"{"), base64.b64encode(b"[]")]
    + [encoded(fields) for fields in WRONG],
)
def test_anything_else_is_a_bad_payload(value: str | bytes | None) -> None:
    with pytest.raises(BadPayload):
        Payload.decode(value)


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(FULL)
