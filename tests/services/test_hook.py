"""HookService as the reference's own hook program calls it, and pushes over HTTP with hooks."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gitaly._pb.hook_pb2 import (
    PostReceiveHookRequest,
    PreReceiveHookRequest,
    ProcReceiveHookRequest,
    ReferenceTransactionHookRequest,
    UpdateHookRequest,
)
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import PostReceivePackRequest
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest
from gitaly.hooks import EVERY, Payload, UserDetails
from gitaly.transactions import Transaction
from tests.hooks.custom.scripts import write_hook
from tests.hooks.gitlab.server import GitLabServer, Reply
from tests.services.node_under_test import Answer, Node, Push, a_node_with_a_repository

ZERO, ONE = "0" * 40, "1" * 40
REPOSITORY = Repository(
    storage_name="default", relative_path="a.git", gl_repository="project-1", gl_project_path="g/p"
)
CHANGES = f"{ZERO} {ONE} refs/heads/new\n".encode()
USER = UserDetails(userid="user-1", username="jane", protocol="http", remote_ip="192.0.2.7")


def environment(
    user: UserDetails | None = USER, transaction: Transaction | None = None
) -> list[str]:
    payload = Payload(
        requested_hooks=EVERY,
        repository=REPOSITORY,
        object_format="sha1",
        user_details=user,
        transaction=transaction,
        client_context=b"context",
    )
    return [
        f"GITALY_HOOKS_PAYLOAD={payload.encode()}",
        "GIT_OBJECT_DIRECTORY=/q/a=b",
        "HOME=/h",
    ]


@pytest.fixture
def gitlab() -> Iterator[GitLabServer]:
    with GitLabServer().serving() as server:
        yield server


def config(gitlab: GitLabServer) -> str:
    # Last of the lines for the top: the table goes on in what follows.
    return f'gitlab.url = "{gitlab.url}"\ngitlab.secret = "s"'


def outcome(answer: Answer) -> tuple[str, bytes, bytes, Sequence[int]]:
    statuses = [m.exit_status.value for m in answer.messages if m.HasField("exit_status")]
    return answer.code, answer.joined("stdout"), answer.joined("stderr"), statuses


async def test_a_pre_receive_hook_of_the_reference_is_answered(
    tmp_path: Path, gitlab: GitLabServer
) -> None:
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        write_hook(
            node.repository / "custom_hooks/pre-receive",
            'cat; echo "$GL_ID $GIT_PUSH_OPTION_0 $GIT_OBJECT_DIRECTORY" >&2',
        )
        answer = await node.ask(
            "PreReceiveHook",
            PreReceiveHookRequest(
                repository=REPOSITORY,
                environment_variables=environment(),
                git_push_options=["option"],
            ),
            PreReceiveHookRequest(stdin=CHANGES[:10]),
            PreReceiveHookRequest(stdin=CHANGES[10:]),
        )
    assert outcome(answer) == ("OK", CHANGES, b"user-1 option /q/a=b\n", [0])
    assert gitlab.names == ["/allowed", "/pre_receive"]
    assert gitlab.calls[0].body["protocol"] == "http"
    assert gitlab.calls[0].headers["X-Forwarded-For"] == "192.0.2.7"
    assert gitlab.calls[0].body["gitaly_client_context_bin"] == "Y29udGV4dA=="


async def test_refusals_have_their_forms(tmp_path: Path, gitlab: GitLabServer) -> None:
    request = PreReceiveHookRequest(repository=REPOSITORY, environment_variables=environment())
    stdin = PreReceiveHookRequest(stdin=CHANGES)
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        gitlab.replies["/allowed"] = Reply(401, {"message": "no"})
        refused = await node.ask("PreReceiveHook", request, stdin)
        gitlab.replies["/allowed"] = Reply(429)
        limited = await node.ask("PreReceiveHook", request, stdin)
        gitlab.replies["/allowed"] = Reply(body={"status": True})
        gitlab.replies["/pre_receive"] = Reply(body={})
        uncounted = await node.ask("PreReceiveHook", request, stdin)
        write_hook(node.repository / "custom_hooks/pre-receive", "echo no; exit 3")
        custom = await node.ask("PreReceiveHook", request, stdin)
    assert outcome(refused) == ("OK", b"", b"GitLab: no", [1])
    assert limited.status == ("RESOURCE_EXHAUSTED", "GitLab: rate limited")
    assert outcome(uncounted) == ("OK", b"", b"", [1])
    assert outcome(custom) == ("OK", b"no\n", b"", [3])


async def test_a_long_refusal_comes_in_pieces_each_with_the_status(
    tmp_path: Path, gitlab: GitLabServer
) -> None:
    gitlab.replies["/allowed"] = Reply(401, {"message": "x" * 200_000})
    request = PreReceiveHookRequest(repository=REPOSITORY, environment_variables=environment())
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        answer = await node.ask("PreReceiveHook", request, PreReceiveHookRequest(stdin=CHANGES))
    assert [len(message.stderr) for message in answer.messages] == [131072, 200_008 - 131072]
    assert outcome(answer)[3] == [1, 1]


async def test_the_other_hooks_are_answered(tmp_path: Path, gitlab: GitLabServer) -> None:
    gitlab.replies["/post_receive"] = Reply(
        body={
            "reference_counter_decreased": True,
            "messages": [{"message": "hi", "type": "basic"}],
        }
    )
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        write_hook(node.repository / "custom_hooks/update", 'echo "$@"; exit 5')
        told = await node.ask(
            "PostReceiveHook",
            PostReceiveHookRequest(repository=REPOSITORY, environment_variables=environment()),
            PostReceiveHookRequest(stdin=CHANGES),
        )
        update = UpdateHookRequest(
            repository=REPOSITORY,
            environment_variables=environment(),
            ref=b"refs/heads/\xff",
            old_value=ZERO,
            new_value=ONE,
        )
        updated = await node.ask("UpdateHook", update)
        update.new_value = "x"
        wrong = await node.ask("UpdateHook", update)
        voted = await node.ask(
            "ReferenceTransactionHook",
            ReferenceTransactionHookRequest(
                repository=REPOSITORY,
                environment_variables=environment(),
                state=ReferenceTransactionHookRequest.PREPARED,
            ),
            ReferenceTransactionHookRequest(stdin=CHANGES),
        )
        proc = await node.ask("ProcReceiveHook", ProcReceiveHookRequest(repository=REPOSITORY))
    assert outcome(told) == ("OK", b"\nhi\n\n", b"", [0])
    said = b"refs/heads/\xff " + f"{ZERO} {ONE}\n".encode()
    assert outcome(updated) == ("OK", said, b"", [5])
    assert wrong.status == ("INTERNAL", 'hook got invalid new value: invalid object ID: "x"')
    assert outcome(voted) == ("OK", b"", b"", [0])
    assert proc.status == ("INTERNAL", "creating handler: no transaction found in payload")


async def test_requests_that_no_hook_makes_are_refused(
    tmp_path: Path, gitlab: GitLabServer
) -> None:
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        empty = await node.ask("PreReceiveHook")
        nowhere = await node.ask("PreReceiveHook", PreReceiveHookRequest())
        unpaid = await node.ask("PreReceiveHook", PreReceiveHookRequest(repository=REPOSITORY))
        bad_state = await node.ask(
            "ReferenceTransactionHook",
            ReferenceTransactionHookRequest(
                repository=REPOSITORY,
                environment_variables=environment(),
                state=99,  # type: ignore[arg-type]  # what no client sends
            ),
        )
        nobody = await node.ask(
            "PreReceiveHook",
            PreReceiveHookRequest(
                repository=REPOSITORY, environment_variables=environment(user=None)
            ),
            PreReceiveHookRequest(stdin=CHANGES),
        )
        nothing = await node.ask(
            "PreReceiveHook",
            PreReceiveHookRequest(repository=REPOSITORY, environment_variables=environment()),
        )
    assert empty.status == ("INTERNAL", "EOF")
    assert nowhere.status == ("INVALID_ARGUMENT", "repository not set")
    assert unpaid.status == (
        "INTERNAL",
        "extracting hooks payload: no hooks payload found in environment",
    )
    assert bad_state.status == ("INVALID_ARGUMENT", "invalid hook state")
    assert outcome(nobody) == ("OK", b"", b"payload has no receive hooks info", [1])
    assert outcome(nothing) == ("OK", b"", b"hook got no reference updates", [1])
    assert gitlab.calls == []


async def push_over_http(node: Node, push: Push) -> Answer:
    first = PostReceivePackRequest(repository=REPOSITORY, gl_id="user-1", gl_username="jane")
    data = PostReceivePackRequest(data=push.command + push.pack)
    return await node.ask("PostReceivePack", first, data)


async def test_a_push_over_http_is_decided_too(tmp_path: Path, gitlab: GitLabServer) -> None:
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        gitlab.replies["/allowed"] = Reply(403, {"message": "no"})
        refused = await push_over_http(node, Push(node))
        assert b"ng refs/heads/new pre-receive hook declined" in refused.joined("data")
        assert refused.code == "OK"
        gitlab.replies["/allowed"] = Reply(body={"status": True})
        accepted = await push_over_http(node, Push(node))
        assert b"ok refs/heads/new" in accepted.joined("data")
        await node.idle()
        ended = await node.finished("PostReceiveHook")
    assert [call.body["protocol"] for call in gitlab.calls if call.name == "/allowed"] == [
        "http",
        "http",
    ]
    assert ended["grpc.code"] == "OK"
    assert ended["username"] == "jane"


async def test_git_keeps_the_connection_alive_while_a_hook_thinks(
    tmp_path: Path, gitlab: GitLabServer
) -> None:
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        node.git("config", "receive.keepAlive", "1")
        write_hook(node.repository / "custom_hooks/pre-receive", "sleep 2.5")
        push = Push(node)
        first = SSHReceivePackRequest(repository=REPOSITORY, gl_id="user-1")
        command = push.command.replace(b"\0report-status", b"\0report-status side-band-64k")
        size = len(command) - 4
        said = f"{size:04x}".encode() + command[4:]
        answer = await node.ask(
            "SSHReceivePack", first, SSHReceivePackRequest(stdin=said + push.pack)
        )
        await node.idle()
    assert answer.joined("stdout").count(b"0005\x01") >= 2
    assert b"ok refs/heads/new" in answer.joined("stdout")


async def test_a_client_that_vanishes_over_http_leaves_nothing(
    tmp_path: Path, gitlab: GitLabServer
) -> None:
    thinking = gitlab.hold("/allowed")
    async with a_node_with_a_repository(tmp_path, config(gitlab)) as node:
        push = Push(node)
        with node.stream("PostReceivePack") as stream:
            stream.say(PostReceivePackRequest(repository=REPOSITORY, gl_id="user-1"))
            stream.say(PostReceivePackRequest(data=push.command + push.pack))
            assert await asyncio.to_thread(thinking.wait, 20)
            await node.until_quarantined()
        await node.idle()
        assert node.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
        gitlab.released.set()
