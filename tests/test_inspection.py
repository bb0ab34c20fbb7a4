"""One snapshot of a whole node, by whoever looks."""

import asyncio
import os
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gitaly._pb.smarthttp_pb2 import InfoRefsRequest
from gitaly.config import load_text
from gitaly.observe.snapshot import MOST_CALLS, ReloadState, Snapshot, from_json, to_json
from gitaly.rpc import Call
from tests.e2e.callers import Caller
from tests.faults.nodes import Served, a_node, config_text
from tests.services.node_under_test import A, a_node_with_a_repository
from tests.transport.wires import until

T = TypeVar("T")
WATCH = "/grpc.health.v1.Health/Watch"
MANY = int(os.environ.get("GITALY_CALLS_IN_FLIGHT", "1000"))  # more than are shown
METRICS = 'prometheus_listen_addr = "127.0.0.1:0"\n'
SECRETS = ("the-token", "the-gitlab-secret", "the-password", "the-hook-password", "the-key")
WITH_SECRETS = f"""{METRICS}
[auth]
token = "the-token"
[gitlab]
url = "http://someone:the-hook-password@127.0.0.1:9/"
secret = "the-gitlab-secret"
[gitlab.http-settings]
user = "someone"
password = "the-password"
[[git.config]]
key = "http.extraHeader"
value = "Authorization: the-key"
"""


@asynccontextmanager
async def watching(served: Served, count: int) -> AsyncIterator[None]:
    """So many calls in flight that do nothing. In portions: the gRPC core itself refuses calls
    when more than a thousand wait for the first look of the server."""
    running = served.node.inspection.subjects.running
    with grpc.insecure_channel(served.address("unix")) as channel:
        watch: Any = channel.unary_stream(WATCH)  # bytes in, bytes out: untyped by its stubs
        request = health_pb2.HealthCheckRequest().SerializeToString()
        calls: list[Any] = []
        for expected in [*range(500, count, 500), count]:
            calls += [watch(request) for _ in range(expected - len(calls))]
            await until(partial(has, running, expected))
        yield
        for call in calls:
            call.cancel()
    await until(lambda: not running)


def has(running: set[Call], count: int) -> bool:
    return len(running) == count


async def test_of_very_many_calls_all_are_counted_and_the_oldest_are_shown(
    tmp_path: Path,
) -> None:
    async with a_node(tmp_path) as served:
        inspection = served.node.inspection
        running = inspection.subjects.running
        async with watching(served, MANY):
            snapshot = await asyncio.to_thread(inspection.snapshot)
            oldest = sorted(now() - call.started for call in running)[-MOST_CALLS]
    assert (snapshot.calls_total, len(snapshot.calls)) == (MANY, MOST_CALLS)
    assert [method.running for method in snapshot.methods] == [MANY]
    assert min(call.seconds for call in snapshot.calls) <= oldest
    assert snapshot.calls == tuple(sorted(snapshot.calls, key=lambda call: -call.seconds))
    assert len(to_json(snapshot)) < 400_000


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_snapshots_are_taken_while_calls_come_and_go(tmp_path: Path) -> None:
    """From several threads, while the loop changes everything that they look at."""
    async with a_node(tmp_path) as served:
        inspection, enough = served.node.inspection, threading.Event()
        found: list[Snapshot | BaseException] = []

        def look() -> None:
            while not enough.is_set():
                try:
                    found.append(inspection._take())
                except BaseException as error:
                    found.append(error)

        lookers = [threading.Thread(target=look) for _ in range(3)]
        for looker in lookers:
            looker.start()
        for _ in range(3):
            async with watching(served, 100):
                pass
        enough.set()
        for looker in lookers:
            await asyncio.to_thread(looker.join)
    assert [x for x in found if not isinstance(x, Snapshot)] == []
    assert max(x.calls_total for x in found if isinstance(x, Snapshot)) > 0


async def test_two_who_look_at_once_see_the_same(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        look = served.node.inspection.snapshot
        one, other = await asyncio.gather(asyncio.to_thread(look), asyncio.to_thread(look))
    assert one is other


async def test_a_loop_that_stands_still_is_found_out_while_it_does(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        found = in_a_thread(served.node.inspection.snapshot)  # and the loop waits
    assert found.node.loop_lag_seconds is None
    assert found.is_healthy is False
    assert any(line.endswith("in_a_thread") for line in found.node.stuck_at)


def in_a_thread(function: Callable[[], T]) -> T:
    """Its result; the caller's thread stands still meanwhile."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


async def test_no_secret_of_the_configuration_is_in_it(tmp_path: Path) -> None:
    async with a_node(tmp_path, extra=WITH_SECRETS) as served:
        port = served.node.metrics_port
        assert port is not None
        inspection = served.node.inspection
        again = load_text(config_text(tmp_path, WITH_SECRETS.replace("the-token", "the-key")))
        assert await served.node.reloader.reload(lambda: again)
        text = to_json(await asyncio.to_thread(inspection.snapshot)).decode()
        page = await asyncio.to_thread(get, port, "/status")
    assert "decided by GitLab at http://127.0.0.1:9/" in text
    for secret in SECRETS:
        assert secret not in text
        assert secret not in page


def get(port: int, path: str, host: str = "127.0.0.1") -> str:
    request = urllib.request.Request(  # http, as it says
        f"http://127.0.0.1:{port}{path}", headers={"Host": host}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        body: bytes = answer.read()
        return body.decode()


async def test_the_listener_of_metrics_shows_the_page_and_what_it_shows(tmp_path: Path) -> None:
    async with a_node(tmp_path, extra=METRICS) as served:
        port = served.node.metrics_port
        assert port is not None
        async with watching(served, 3):
            shown = from_json((await asyncio.to_thread(get, port, "/status.json")).encode())
        page = await asyncio.to_thread(get, port, "/status")
        metrics = await asyncio.to_thread(get, port, "/metrics")
    assert [call.rpc for call in shown.calls] == ["Health/Watch"] * 3
    assert {call.peer for call in shown.calls} == {"unix"}
    assert "<title>gitaly</title>" in page
    assert "gitaly_service_client_requests_total" in metrics


async def test_a_site_whose_name_is_made_to_lead_to_the_node_reads_nothing(tmp_path: Path) -> None:
    extra = f'{METRICS}[prometheus]\nstatus_page_hosts = ["gitaly1.internal"]\n'
    async with a_node(tmp_path, extra=extra) as served:
        port = served.node.metrics_port
        assert port is not None
        own = f"{os.uname().nodename}:{port}"
        for host in (own, f"gitaly1.internal:{port}", f"localhost:{port}", "127.0.0.1"):
            found = await asyncio.to_thread(get, port, "/status.json", host)
            assert "loop_patience_seconds" in found
        for path in ("/status", "/status.json"):
            with pytest.raises(HTTPError) as refused:
                await asyncio.to_thread(get, port, path, f"rebound.example:{port}")
            with refused.value as error:
                assert (error.code, b"storage" in error.read()) == (403, False)


async def test_the_page_can_be_switched_off(tmp_path: Path) -> None:
    extra = f"{METRICS}[prometheus]\nstatus_page = false\n"
    async with a_node(tmp_path, extra=extra) as served:
        port = served.node.metrics_port
        assert port is not None
        for path in ("/status", "/status.json"):
            found = await asyncio.to_thread(get, port, path)
            assert "gitaly_service_client_requests_total" in found  # what any other path shows
            assert "loop_patience_seconds" not in found


async def test_a_node_that_drains_says_so(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served, watching(served, 1):
        hurry = asyncio.Event()
        stopping = asyncio.ensure_future(served.node.serving.stop(20, hurry))
        await until(lambda: served.node.serving.is_stopped)
        found = await asyncio.to_thread(served.node.inspection.snapshot)
        hurry.set()
        await stopping
    assert found.node.state == "draining"
    assert found.wrong == ("the node is draining: it takes no new calls",)


async def test_the_last_reload_is_told(tmp_path: Path) -> None:
    quiet = "[logging]\nlevel = 'error'\nformat = 'json'\n"
    async with a_node(tmp_path) as served:
        look, reload = served.node.inspection._take, served.node.reloader.reload
        never = await asyncio.to_thread(look)
        assert await reload(lambda: load_text(config_text(tmp_path, quiet)))
        applied = await asyncio.to_thread(look)
        assert not await reload(lambda: load_text("nonsense"))
        refused = await asyncio.to_thread(look)
    assert never.reload == ReloadState()
    assert (applied.is_healthy, applied.reload.text) == (True, "logging.level")
    assert applied.remarks == ("these keys of the file need a restart: logging.format",)
    assert refused.reload.at > applied.reload.at > 0
    assert refused.reload.waiting == ("logging.format",)
    assert refused.wrong == (f"the configuration was not reloaded: {refused.reload.text}",)
    assert refused.reload.text.startswith("line 1: ")


async def test_who_may_call_and_what_is_served_is_told(tmp_path: Path) -> None:
    both = 'auth.tokens = ["the new token", "the old token"]'
    async with a_node(tmp_path, extra=both) as served:
        with grpc.insecure_channel(f"127.0.0.1:{served.node.port('tcp')}") as channel:
            assert await Caller.holding(b"the old token").call(channel) == "OK"
        found = await asyncio.to_thread(served.node.inspection._take)
    new, old = found.access.tokens
    assert (found.access.mode, new.fingerprint, old.fingerprint) == ("enforced", "b62c", "f3f4")
    assert (new.uses, new.last_used) == (0, 0.0)
    assert (old.uses, found.taken - 60 < old.last_used <= found.taken) == (1, True)
    certificate = found.certificate
    assert (certificate.address, certificate.name) == ("127.0.0.1:0", "a")
    assert certificate.expires > found.taken


async def test_the_storages_are_what_the_patrol_has_found(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        subjects = served.node.inspection.subjects
        before = await asyncio.to_thread(served.node.inspection._take)
        (tmp_path / "storage").rename(tmp_path / "away")
        changed = asyncio.Event()
        subjects.patrol.on_change(changed.set)
        await asyncio.wait_for(changed.wait(), 60)
        after = await asyncio.to_thread(served.node.inspection._take)
        (tmp_path / "away").rename(tmp_path / "storage")
    [well], [gone] = before.storages, after.storages
    assert (well.state, well.problem) == ("ok", "")
    assert 0 < well.free_bytes < well.total_bytes
    assert well.file_system != ""
    assert (gone.state, gone.total_bytes) == ("gone", well.total_bytes)
    assert gone.problem == (
        "the directory is not there (No such file or directory): is the disk mounted?"
    )
    assert after.wrong == (f'storage "default" ({tmp_path}/storage): {gone.problem}',)


async def test_what_git_children_do_is_told_with_their_group(tmp_path: Path) -> None:
    """Where control groups can be made: see docs/cgroups.md."""
    groups = "[cgroups]\nrequired = false\n[cgroups.repositories]\ncount = 3\n"
    async with a_node_with_a_repository(tmp_path, extra=groups) as node:
        inspection = node.served.node.inspection
        if inspection.subjects.groups is None:
            pytest.skip("control groups cannot be made here")
        answer = await node.ask("InfoRefsUploadPack", InfoRefsRequest(repository=A))
        assert answer.code == "OK"
        found = await asyncio.to_thread(inspection._take)
    cgroups = found.cgroups
    assert cgroups.version in (1, 2)
    [group] = [group for group in cgroups.groups if "default/a.git" in group.repositories]
    assert group.path.startswith(f"{cgroups.parent.path}/repos-")
    assert cgroups.spawners >= 1
