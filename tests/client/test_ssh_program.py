"""gitaly-ssh: what it makes of its environment, and its one line when it cannot begin."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.cli.ssh import feature_flags
from tests.client.programs import REPOSITORY, Answer, run, run_ssh
from tests.faults.nodes import a_node, make_repository

USAGE = '"usage: gitaly-ssh upload-pack|receive-pack|upload-archive HOST COMMAND"'
SERVICES = {
    "upload-pack": "SSHUploadPackWithSidechannelRequest",
    "receive-pack": "SSHReceivePackRequest",
    "upload-archive": "SSHUploadArchiveRequest",
}


@pytest.fixture
def silent_node(tmp_path: Path) -> Iterator[str]:
    """The address of a node that can be reached and says nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/s")
        listening.listen()
        yield f"unix:{tmp_path}/s"


def logged(answer: Answer) -> str:
    """The one line of a program that has failed, without its time and its process."""
    assert (answer.code, answer.stdout) == (1, b"")
    line = re.fullmatch(
        r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z" level=error (msg=.*) pid=\d+\n',
        answer.stderr,
    )
    assert line is not None, answer.stderr
    return line[1]


@pytest.mark.parametrize("arguments", [[], ["upload-pack"], ["upload-pack", "host"], ["rm", "x"]])
def test_fewer_than_three_arguments_are_a_wrong_use(arguments: list[str]) -> None:
    assert logged(run("gitaly-ssh", *arguments)) == f"msg={USAGE}"


@pytest.mark.parametrize(
    ("command", "shown"),
    [("rm", "rm"), ("", ""), ("Upload-Pack", "Upload-Pack"), ("a\nb", "a\\nb")],
)
def test_another_command_than_the_three_is_refused(command: str, shown: str) -> None:
    assert logged(run_ssh(command)) == f'msg="invalid pack command: \\"{shown}\\""'


@pytest.mark.parametrize("service", SERVICES)
def test_the_address_can_not_be_empty(service: str) -> None:
    said = 'msg="command returned error" error="gitaly address can not be empty"'
    assert logged(run_ssh(service)) == said
    assert logged(run_ssh(service, GITALY_ADDRESS="")) == said


def test_what_follows_the_first_argument_does_not_matter() -> None:
    answer = run("gitaly-ssh", "upload-pack", "", "--", "and", "more")
    assert logged(answer) == 'msg="command returned error" error="gitaly address can not be empty"'


def test_an_address_of_another_kind_is_refused() -> None:
    answer = run_ssh(GITALY_ADDRESS="http://node")
    assert logged(answer) == r'msg="command returned error" error="unknown scheme: \"http://node\""'


def test_a_directory_that_does_not_exist_is_told(tmp_path: Path) -> None:
    said = f'msg="unable to chdir to {tmp_path}/missing" error="No such file or directory"'
    assert logged(run_ssh(GITALY_WD=f"{tmp_path}/missing")) == said


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = f'msg="unable to chdir to {tmp_path}/file" error="Not a directory"'
    assert logged(run_ssh(GITALY_WD=f"{tmp_path}/file")) == said


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (
            "unix:/nonexistent/node.sock",
            "dial unix /nonexistent/node.sock: no such file or directory",
        ),
        ("tcp://127.0.0.1:1", "dial tcp 127.0.0.1:1: connection refused"),
        ("tls://127.0.0.1:1", "dial tcp 127.0.0.1:1: connection refused"),
        ("dns:127.0.0.1:1", "dial tcp 127.0.0.1:1: connection refused"),
        ("dns:///127.0.0.1:1", "dial tcp 127.0.0.1:1: connection refused"),
        ("tcp://a..b:1", "dial tcp a..b:1: not a name of a host"),
    ],
)
def test_a_node_that_is_not_there_is_told(address: str, reason: str) -> None:
    answer = run_ssh(GITALY_ADDRESS=address, GITALY_PAYLOAD=REPOSITORY)
    assert logged(answer) == f'msg="command returned error" error="{reason}"'


@pytest.mark.parametrize("service", SERVICES)
def test_a_field_that_the_request_does_not_have_is_named(silent_node: str, service: str) -> None:
    answer = run_ssh(service, GITALY_ADDRESS=silent_node, GITALY_PAYLOAD='{"no": 1}')
    assert logged(answer).startswith(
        'msg="command returned error" error="unmarshaling payload failed: '
        rf"Message type \"gitaly.{SERVICES[service]}\" has no field named \"no\""
    )


@pytest.mark.parametrize(
    "payload",
    ["", "{", "nonsense", "1", "null", '{"repository": 3}', b'{"glId": "\xff"}', "[" * 9999],
)
def test_a_payload_that_is_not_json_of_the_request_is_one_line(
    silent_node: str, payload: str | bytes
) -> None:
    answer = run_ssh("receive-pack", GITALY_ADDRESS=silent_node, GITALY_PAYLOAD=payload)
    assert logged(answer).startswith(
        'msg="command returned error" error="unmarshaling payload failed: Failed to '
    )


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("", []),
        ("a:true", [("gitaly-feature-a", "true")]),
        ("a_b_c:false", [("gitaly-feature-a-b-c", "false")]),
        ("A:true", [("gitaly-feature-a", "true")]),
        ("a:true,b:false", [("gitaly-feature-a", "true"), ("gitaly-feature-b", "false")]),
        ("a:true,,b", [("gitaly-feature-a", "true")]),
        ("a,b:true", [("gitaly-feature-b", "true")]),
        (":true", []),
        ("a:", []),
        ("a:True", []),
        ("a:1", []),
        ("a:true:false", []),
        ("a true,b:true", [("gitaly-feature-b", "true")]),
        ("a b:true,c:true", [("gitaly-feature-c", "true")]),
        ("\u00fc:true,c:true", [("gitaly-feature-c", "true")]),
        ("a\n:true", []),
    ],
)
def test_malformed_feature_flags_are_left_out(text: str, metadata: list[tuple[str, str]]) -> None:
    assert list(feature_flags(text)) == metadata


@pytest.mark.parametrize("correlation_id", ["a\nb", "\u00fc", b"\xff", ""])
async def test_a_correlation_id_that_no_call_can_carry_is_replaced(
    tmp_path: Path, correlation_id: str | bytes
) -> None:
    async with a_node(tmp_path) as served:
        make_repository(tmp_path, size=1)
        answer = await asyncio.to_thread(
            run_ssh,
            data=b"0000",
            GITALY_ADDRESS=served.address("unix"),
            GITALY_PAYLOAD=REPOSITORY.replace("}}", '}, "gitProtocol": "version=2"}'),
            CORRELATION_ID=correlation_id,
        )
        ids = [line.get("correlation_id", "") for line in served.lines() if "grpc.code" in line]
    assert (answer.code, answer.stderr) == (0, "")
    assert len(ids) == 1
    assert re.fullmatch("[0-9a-f]{32}", ids[0])
