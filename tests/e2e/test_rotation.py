"""Tokens are rotated while clients call: no good call is refused, no bad one let in."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest
from gitaly.hooks import Payload
from gitaly.rpc import AuthPolicy
from gitaly.token import fingerprints, make_token
from tests.e2e.callers import METHOD, Caller, after_more_calls, calling
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import NodeProcess
from tests.e2e.reloading import edit, reloaded
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import Served, a_node
from tests.hooks.gitlab.server import GitLabServer
from tests.services.node_under_test import A, Push, a_node_with_a_repository
from tests.transport.wires import until

OLD, NEW = b"the old horse", b"the new horse"
ONLY_NEW = AuthPolicy(secrets=(NEW,))
OLD_NAME, _ = fingerprints([OLD, NEW])
ALONE = (("grpc.use_local_subchannel_pool", 1),)  # with a connection of its own
STRICT = f'auth.token = "{OLD.decode()}"'
USED = "gitaly_authentication_token_uses_total"


def target(served: Served) -> str:
    return f"127.0.0.1:{served.node.port('tcp')}"


def total(callers: list[Caller]) -> Counter[str]:
    return sum((caller.answers for caller in callers), Counter[str]())


def bad_callers() -> list[Caller]:
    return [
        Caller.holding(b"a stranger"),
        Caller.holding(b""),
        Caller(lambda: None),
        Caller(lambda: make_token(OLD, time.time() - 45)),
        Caller(lambda: make_token(NEW, time.time() + 45)),
        Caller(lambda: make_token(NEW, time.time()).replace("v2", "v1")),
        Caller(lambda: f"Bearer {NEW.decode()}"),
    ]


@pytest.fixture
def page() -> MetricsPage:
    return MetricsPage()


@pytest.fixture
def strict(tmp_path: Path, page: MetricsPage) -> Iterator[NodeProcess]:
    """A node that an operator has started with the old token."""
    node = NodeProcess(tmp_path, top=page.configuration, extra=auth(OLD))
    node.start()
    yield node
    node.stop()


def auth(*secrets: bytes) -> str:
    return f"[auth]\ntokens = {json.dumps([secret.decode() for secret in secrets])}\n"


async def rotate(node: NodeProcess, old: str, new: str) -> None:
    """Edit its file, and send it the signal."""
    edit(node, old, new)
    assert "auth.tokens" in (await asyncio.to_thread(reloaded, node))["changed"]


async def test_a_rotation_under_load_refuses_no_good_call_and_lets_no_bad_one_in(
    strict: NodeProcess, page: MetricsPage
) -> None:
    clients = [Caller.holding(OLD) for _ in range(10)]
    strangers, too_early, too_late = bad_callers(), Caller.holding(NEW), Caller.holding(OLD)
    only_old, both, only_new = auth(OLD), auth(NEW, OLD), auth(NEW)
    at = f"127.0.0.1:{strict.tcp}"

    async def uses_of_the_old_one() -> float:
        return await asyncio.to_thread(page.sum, USED, token=OLD_NAME)

    async with calling(at, clients, 100), calling(at, strangers, 40):
        await after_more_calls(clients, 5)
        async with calling(at, [too_early], 20):
            await after_more_calls([too_early], 5)

        # the node learns the new token, then its clients, one after the other
        await rotate(strict, only_old, both)
        for client in clients:
            await after_more_calls([client], 2)
            client.takes(NEW)

        # nobody uses the old one any more
        await after_more_calls(clients, 2)
        settled = await uses_of_the_old_one()
        await after_more_calls(clients, 5)
        assert await uses_of_the_old_one() == settled

        await rotate(strict, both, only_new)
        async with calling(at, [too_late], 20):
            await after_more_calls([too_late, *clients], 5)

        # to and fro
        for _ in range(10):
            await rotate(strict, only_new, both)
            await rotate(strict, both, only_new)
    assert set(total(clients)) == {"OK"}
    assert total(clients).total() > 200
    bad = total([*strangers, too_early, too_late])
    assert set(bad) == {"PERMISSION_DENIED", "UNAUTHENTICATED"}
    assert bad.total() > 50
    assert (
        await asyncio.to_thread(page.sum, "gitaly_authentications_total", status="ok")
        == total(clients).total()
    )


async def test_a_call_that_was_let_in_goes_on_after_its_token_was_withdrawn(
    tmp_path: Path,
) -> None:
    token = [("authorization", make_token(OLD, time.time()))]
    request = SSHReceivePackRequest(repository=A, gl_id="user-1")
    async with a_node_with_a_repository(tmp_path, STRICT) as node:
        pushed = Push(node)
        with node.stream("SSHReceivePack", token) as stream:
            stream.say(request)
            assert await stream.hear() is not None  # what references there are
            node.served.node.authenticator.adopt(ONLY_NEW)
            stream.say(SSHReceivePackRequest(stdin=pushed.command))
            stream.say(SSHReceivePackRequest(stdin=pushed.pack))
            assert (await stream.end()).status == ("OK", "")
        assert node.git("rev-parse", "refs/heads/new") == pushed.new
        refused = await node.ask("SSHReceivePack", request, metadata=token)
        assert refused.status == ("PERMISSION_DENIED", "permission denied: wrong hmac signature")


@pytest.fixture
def gitlab() -> Iterator[GitLabServer]:
    with GitLabServer().serving() as server:
        yield server


async def test_hooks_of_a_push_do_not_mind_that_its_token_is_withdrawn_in_the_middle(
    tmp_path: Path, gitlab: GitLabServer
) -> None:
    config = f'{STRICT}\ngitlab.url = "{gitlab.url}"\ngitlab.secret = "s"'
    token = [("authorization", make_token(OLD, time.time()))]
    repository = Repository(
        storage_name="default", relative_path="a.git", gl_repository="project-1"
    )
    request = SSHReceivePackRequest(repository=repository, gl_id="user-1")
    async with a_node_with_a_repository(tmp_path, config) as node:
        pushed, asked = Push(node), gitlab.hold("/allowed")
        with node.stream("SSHReceivePack", token) as stream:
            stream.say(request)
            stream.say(SSHReceivePackRequest(stdin=pushed.command))
            stream.say(SSHReceivePackRequest(stdin=pushed.pack))
            assert await asyncio.to_thread(asked.wait, 20)
            payload = payload_of_a_child(node.children())
            node.served.node.authenticator.adopt(ONLY_NEW)
            inner = await at_internal_socket(payload)
            gitlab.released.set()
            answer = await stream.end()
        assert answer.status == ("OK", "")
        assert node.git("rev-parse", "refs/heads/new") == pushed.new
        assert gitlab.names == ["/allowed", "/pre_receive", "/post_receive"]
        assert inner == {"payload": "OK", "new": "OK", "old": "PERMISSION_DENIED"}
        outside = Caller.holding(payload.internal_socket_token.encode())
        with grpc.insecure_channel(target(node.served)) as channel:
            assert await outside.call(channel) == "PERMISSION_DENIED"


def payload_of_a_child(children: list[int]) -> Payload:
    """What git was told, and its hooks from it: those of the reference, too."""
    for pid in children:
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == b"GITALY_HOOKS_PAYLOAD":
                return Payload.decode(value)
    raise AssertionError("no git runs")


async def at_internal_socket(payload: Payload) -> dict[str, str]:
    """How calls to the internal socket end, as the reference's hook program makes them."""
    secrets = {"payload": payload.internal_socket_token.encode(), "new": NEW, "old": OLD}
    with grpc.insecure_channel(f"unix:{payload.internal_socket}") as channel:
        return {
            name: await Caller.holding(secret).call(channel) for name, secret in secrets.items()
        }


async def test_the_internal_token_is_of_one_process_and_shown_to_nobody(tmp_path: Path) -> None:
    async with a_node(tmp_path, extra=STRICT) as served:
        shown = [served.log.getvalue().decode(), repr(served.node)]
    assert [text for text in shown if "horse" in text] == []


async def test_a_large_header_is_refused_and_the_next_call_answered(tmp_path: Path) -> None:
    monsters = [
        "Bearer v2." + "ab" * 100_000 + ".1",
        "Bearer v2." + "ab" * 32 + "." + "1" * 200_000,
        "x" * 200_000,
        "Bearer " + "." * 200_000,
    ]
    async with a_node(tmp_path, extra=STRICT) as served:
        with grpc.insecure_channel(target(served)) as channel:
            for monster in monsters:
                caller = Caller(lambda monster=monster: monster)  # type: ignore[misc]
                assert await caller.call(channel) == "UNAUTHENTICATED"
                assert await Caller.holding(OLD).call(channel) == "OK"
        await until(lambda: len(served.lines()) > 8)
        assert max(map(len, served.log.getvalue().splitlines())) < 5000
        counted = served.node.registry.get_sample_value(
            "gitaly_authentication_refusals_total", {"enforced": "true", "reason": "malformed"}
        )
        assert counted == 4.0


async def test_a_monstrous_header_ends_its_connection_and_no_other(tmp_path: Path) -> None:
    async with a_node(tmp_path, extra=STRICT) as served:
        with (
            grpc.insecure_channel(target(served), options=ALONE) as monstrous,
            grpc.insecure_channel(target(served), options=ALONE) as channel,
        ):
            assert await Caller.holding(OLD).call(channel) == "OK"
            answer = await Caller(lambda: "x" * 10_000_000).call(monstrous)
            assert answer in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")  # by the node, by the client
            assert await Caller.holding(OLD).call(channel) == "OK"
            assert await Caller.holding(OLD).call(monstrous) == "OK"


async def test_many_headers_are_one_call_and_the_first_decides(tmp_path: Path) -> None:
    good, bad = make_token(OLD, time.time()), "Bearer v2.00.1"
    async with a_node(tmp_path, extra=STRICT) as served:
        with grpc.insecure_channel(target(served)) as channel:
            answers = []
            for first, others in ((good, bad), (bad, good)):
                metadata = (("authorization", first), *[("authorization", others)] * 1000)
                ask: Any = channel.unary_unary(METHOD)  # bytes in, bytes out: untyped by its stubs
                call = ask.future(b"", metadata=metadata, timeout=20)
                answers.append((await asyncio.to_thread(call.code)).name)
    assert answers == ["OK", "PERMISSION_DENIED"]


@pytest.mark.parametrize("header", [b"Bearer \xff\xfe.\x80.\x81", b"\x00", b"Bearer v2.\r\n.1"])
async def test_a_binary_header_opens_nothing(tmp_path: Path, header: bytes) -> None:
    async with a_node(tmp_path, extra=STRICT) as served:
        assert await asyncio.to_thread(raw_call, served, header) != b""
        with grpc.insecure_channel(target(served)) as channel:
            assert await Caller.holding(OLD).call(channel) == "OK"
        assert (
            served.node.registry.get_sample_value(
                "gitaly_authentications_total", {"enforced": "true", "status": "ok"}
            )
            == 1.0
        )


def raw_call(served: Served, header: bytes) -> bytes:
    """What a node says to bytes that no library sends."""
    literal = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", METHOD.encode()),
            (b":authority", b"node"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"authorization", header),
        )
    )

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
        return head + stream.to_bytes(4, "big") + payload

    with served.connect("tcp") as connected:
        connected.settimeout(20)
        connected.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(1, 4, 1, literal)
            + frame(0, 1, 1, b"\0" * 5)
        )
        answer = b""
        while not any(frame_of_stream_ended(answer)):
            piece = connected.recv(65536)
            answer += piece
            if not piece:
                break
        return answer


def frame_of_stream_ended(answer: bytes) -> Iterator[bool]:
    """For each whole frame: whether it ends stream 1, or the connection."""
    while len(answer) >= 9 and len(answer) >= 9 + int.from_bytes(answer[:3], "big"):
        size, kind, flags = int.from_bytes(answer[:3], "big"), answer[3], answer[4]
        stream = int.from_bytes(answer[5:9], "big")
        ends = kind in (0, 1) and bool(flags & 1)
        yield (stream == 1 and (ends or kind == 3)) or kind == 7
        answer = answer[9 + size :]
