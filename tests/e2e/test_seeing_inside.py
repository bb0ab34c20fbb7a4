"""What an operator sees of a node at work: calls, queues, refusals, and what is wrong."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gitaly.cli.nodes import processes_of
from gitaly.config import load
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import stalled_fetch
from tests.e2e.looking import Looker
from tests.e2e.node_process import BIN, NodeProcess, terminate_group, wait_until
from tests.e2e.pushes.pushers import Pusher
from tests.hooks.custom.scripts import write_hook

SECRET = "correct horse"
STUCK = Path(__file__).with_name("stuck.py")
FETCH = "SSHUploadPackWithSidechannel"
LIMITS = (
    f'[auth]\ntoken = "{SECRET}"\n'
    f'[[concurrency]]\nrpc = "/gitaly.SSHService/{FETCH}"\n'
    "max_concurrency = 1\nmax_queue_size = 1\n"
)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path_factory.mktemp("n"), extra=LIMITS)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def looker(limited: NodeProcess) -> Iterator[Looker]:
    looker = Looker(limited)
    yield looker
    wait_until(lambda: looker.look().calls_total == 0, "all calls to end")


def waiting_fetch(way: Way) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["gitaly-ssh", "upload-pack", "gitaly", "git-upload-pack 'x'"],
        env=way.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


def test_a_clone_shows_who_it_is_where_it_is_and_what_it_costs(
    looker: Looker, big: Path, name: str
) -> None:
    make_bare(looker.node, name, source=big)
    with stalled_fetch(Way(node=looker.node, repository=name, token=SECRET)):
        [call] = looker.until_calls(FETCH, "running")
        assert call.repository == f"default/{name}"
        assert call.client == "git-remote-gitaly"
        assert call.peer.startswith("127.0.0.1:")
        assert call.commands == ("git upload-pack",)
        assert call.sent_bytes > 100_000  # by the sidechannel: no message has been sent yet
        assert 50 < call.received_bytes < 10_000
        assert call.memory_bytes > 1 << 20
        assert call.queue_seconds == 0
        assert call.run_seconds == call.seconds > 0
        snapshot = looker.look()
        assert [(m.rpc, m.running) for m in snapshot.methods] == [(f"SSHService/{FETCH}", 1)]
        assert snapshot.is_healthy
    assert looker.node.pid == snapshot.node.pid


def test_who_waits_is_shown_with_the_limit_and_who_is_refused_with_the_reason(
    looker: Looker, big: Path, name: str
) -> None:
    make_bare(looker.node, name, source=big)
    way = Way(node=looker.node, repository=name, token=SECRET)
    with stalled_fetch(way):
        waiting = waiting_fetch(Way(node=way.node, program="ssh", repository=name, token=SECRET))
        queued, _ = sorted(looker.until_calls(FETCH, "queued", "running"), key=lambda c: c.phase)
        assert queued.waits_for == f"perRPC/gitaly.SSHService/{FETCH}"
        assert queued.queue_seconds > 0
        assert way.try_git("ls-remote", way.url).code == 128
        snapshot = looker.look()
        assert snapshot.calls_queued == 1
        queue = next(q for q in snapshot.queues if q.name == queued.waits_for)
        assert (queue.limit, queue.places, queue.running, queue.waiting) == (1, 1, 1, 1)
        assert (queue.busiest[0].key, queue.busiest[0].waiting) == (name, 1)
        refusal = next(r for r in snapshot.refusals if r.repository == f"default/{name}")
        assert (refusal.kind, refusal.reason) == ("limit", "maximum queue size reached")
        assert any("no place left to wait" in text for text in snapshot.remarks)
        said = looker.gitaly("status")
        assert said.code == 0, said
        assert f"busiest {name}: 1 running, 1 waiting" in said.stdout
    terminate_group(waiting)
    assert waiting.stdin is not None
    waiting.stdin.close()


def test_who_has_a_wrong_token_is_remembered_without_the_token(looker: Looker, name: str) -> None:
    make_bare(looker.node, name)
    way = Way(node=looker.node, repository=name, token="a wrong secret")
    for _ in range(3):
        assert way.try_git("ls-remote", way.url).code == 128
    [refusal] = [r for r in looker.look().refusals if "hmac" in r.reason]
    assert (refusal.kind, refusal.count) == ("auth", 3)
    assert refusal.client == "git-remote-gitaly"
    said = looker.gitaly("status", "--json").stdout
    assert "a wrong secret" not in said
    assert SECRET not in said
    assert "v2." not in said


def test_a_hook_that_refuses_is_remembered(looker: Looker, work: Path, name: str) -> None:
    extra = {"GITALY_TOKEN": SECRET}
    pusher = Pusher(node=looker.node, work=work, relative_path=name, extra=extra)
    make_bare(looker.node, name)
    write_hook(pusher.path / "custom_hooks/pre-receive", "echo no >&2; exit 7")
    with pusher.start("main") as pushing:
        pushing.communicate(timeout=60)
    assert pushing.returncode != 0
    [refusal] = [r for r in looker.look().refusals if r.repository == f"default/{name}"]
    assert (refusal.kind, refusal.rpc) == ("hook", "HookService/PreReceiveHook")
    assert "custom_hooks/pre-receive" in refusal.reason


def test_a_hook_that_does_not_end_shows_what_it_burns(
    looker: Looker, work: Path, name: str
) -> None:
    extra = {"GITALY_TOKEN": SECRET}
    pusher = Pusher(node=looker.node, work=work, relative_path=name, extra=extra)
    make_bare(looker.node, name)
    write_hook(pusher.path / "custom_hooks/pre-receive", "while :; do :; done")
    with pusher.start("main") as pushing:
        try:
            wait_until(
                lambda: any(call.cpu_seconds > 0 for call in looker.calls("PreReceiveHook")),
                "some CPU time",
            )
            [call] = looker.calls("PreReceiveHook")
        finally:
            os.killpg(pushing.pid, signal.SIGKILL)
    assert (call.repository, call.commands) == (f"default/{name}", ("gitaly-hooks pre-receive",))
    assert call.memory_bytes > 0


def test_top_and_status_print_plain_text_where_there_is_no_terminal(
    looker: Looker, big: Path, name: str
) -> None:
    make_bare(looker.node, name, source=big)
    with stalled_fetch(Way(node=looker.node, repository=name, token=SECRET)):
        top, status = looker.gitaly("top"), looker.gitaly("status")
    assert (top.code, top.stderr) == (0, "")
    row = next(line for line in top.stdout.splitlines() if f"default/{name}" in line)
    assert row.endswith(f"{FETCH} [git upload-pack]")
    assert "\x1b" not in top.stdout
    assert (status.code, status.stderr) == (0, "")
    assert f"process {looker.node.pid}, serving, up " in status.stdout
    assert f"calls: 1 in flight: 1 {FETCH}" in status.stdout


def test_an_unknown_column_is_told_with_those_that_there_are(looker: Looker) -> None:
    said = looker.gitaly("top", "--sort", "colour")
    assert said.code == 2
    assert said.stderr.startswith("--sort colour: choose one of time, queued, cpu%, cpu,")


# What is wrong


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looker]:
    node = NodeProcess(tmp_path_factory.mktemp("n"))
    node.start()
    yield Looker(node)
    if not node.has_ended:
        node.kill()


def test_a_storage_that_is_gone_makes_the_node_unhealthy_and_is_said(own: Looker) -> None:
    shutil.rmtree(own.node.storage)
    wait_until(lambda: not own.look().is_healthy, "the node to look at its storage")
    said = own.gitaly("status")
    sentence = "the directory is not there (No such file or directory): is the disk mounted?"
    assert said.code == 1
    assert said.stdout.splitlines()[-1] == (
        f'WRONG: storage "default" ({own.node.storage}): {sentence}'
    )
    told = json.loads(own.gitaly("status", "--json").stdout)
    assert (told["is_healthy"], told["exit_code"]) == (False, 1)
    assert told["processes"][0]["snapshot"]["storages"][0]["state"] == "gone"


def test_a_node_that_does_not_run_is_said_in_one_line(own: Looker) -> None:
    own.node.kill()
    for command in ("status", "top"):
        said = own.gitaly(command)
        assert (said.code, said.stdout) == (3, "")
        assert "no node of this configuration runs" in said.stderr
    told = json.loads(own.gitaly("status", "--json").stdout)
    assert (told["exit_code"], told["processes"]) == (3, [])


def test_a_process_that_is_stopped_is_said_not_to_answer(looker: Looker) -> None:
    os.kill(looker.node.pid, signal.SIGSTOP)
    try:
        [process] = processes_of(load(str(looker.config)), patience_seconds=0.2)
    finally:
        os.kill(looker.node.pid, signal.SIGCONT)
    assert process.snapshot is None
    assert process.problem == (
        f"process {looker.node.pid} does not answer within 0.2 seconds: it is stopped (SIGSTOP);"
        f" kill -CONT {looker.node.pid} lets it go on"
    )


def test_a_socket_that_somebody_has_removed_is_said(own: Looker) -> None:
    (own.node.directory / "run" / f"gitaly-{own.node.pid}" / "sock.d" / "status").unlink()
    said = own.gitaly("status")
    assert said.code == 4
    assert said.stderr + said.stdout == (
        f"WRONG: process {own.node.pid} tells nothing yet, or no more: it starts, or it ends\n"
    )
    assert own.gitaly("top").code == 4


def test_a_socket_of_something_else_is_said(own: Looker) -> None:
    path = own.node.directory / "run" / f"gitaly-{own.node.pid}" / "sock.d" / "status"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with subprocess.Popen(
            [BIN / "gitaly", "status", own.config], stdout=subprocess.PIPE, text=True
        ) as asking:
            connected, _ = other.accept()
            connected.recv(65536)
            connected.sendall(b"\x00nonsense\r\n\r\n")
            connected.close()
            out, _ = asking.communicate(timeout=60)
    assert asking.returncode == 4
    assert f"process {own.node.pid} gives no answer that can be read" in out


def test_an_old_process_that_drains_is_shown_beside_the_new_one(
    own: Looker, big: Path, name: str
) -> None:
    make_bare(own.node, name, source=big)
    new = NodeProcess(own.node.directory, top='graceful_restart_timeout = "30s"\n')
    with stalled_fetch(Way(node=own.node, repository=name)) as talk:
        os.kill(own.node.pid, signal.SIGTERM)
        wait_until(lambda: "starting grace period" in own.node.log(), "the old node to drain")
        alone = own.gitaly("status")
        new.start()
        both = own.gitaly("status")
        top = own.gitaly("top").stdout
        talk.process.kill()
    assert alone.code == 1
    assert "WRONG: the node is draining: it takes no new calls" in alone.stdout
    assert both.code == 0, both
    assert [line.split(", ")[1:3] for line in both.stdout.splitlines() if line[0] == "g"] == [
        [f"process {new.pid}", "serving"],
        [f"process {own.node.pid}", "draining"],
    ]
    assert "draining" in both.stdout
    assert both.stdout.count(": another process serves") == 1
    assert "wrong" not in both.stdout
    assert f"default/{name}" in top
    assert "! " not in top
    wait_until(lambda: own.node.has_ended, "the old node to end")
    new.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_who_may_not_look_is_told_who_may() -> None:
    if not os.stat(BIN / "gitaly").st_mode & 1 or not readable_by_all(Path(__file__)):
        pytest.skip("the programs of this tree are not for everybody")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        node = NodeProcess(Path(directory))
        node.start()
        try:
            done = subprocess.run(
                [
                    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                    *(sys.executable, "-P", BIN / "gitaly", "status", f"{directory}/config.toml"),
                ],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            node.stop()
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout == (f"WRONG: process {node.pid} may not be asked: run this as root\n")


def readable_by_all(path: Path) -> bool:
    return all(os.stat(parent).st_mode & 5 == 5 for parent in path.parents)


# SIGUSR2


def dump_of(node: NodeProcess) -> list[dict[str, object]]:
    before = len(node.log())
    os.kill(node.pid, signal.SIGUSR2)
    wait_until(lambda: "state dump ends" in node.log()[before:], "the state to be dumped")
    lines = [json.loads(line) for line in node.log()[before:].splitlines()]
    return [line for line in lines if str(line["msg"]).startswith("state dump")]


def test_a_signal_dumps_the_state_to_the_log_and_the_node_goes_on(
    looker: Looker, big: Path, name: str
) -> None:
    make_bare(looker.node, name, source=big)
    with stalled_fetch(Way(node=looker.node, repository=name, token=SECRET)):
        lines = dump_of(looker.node)
        assert looker.look().is_healthy
    by_kind: dict[object, list[dict[str, object]]] = {}
    for line in lines:
        by_kind.setdefault(line["msg"], []).append(line)
    [call] = by_kind["state dump: call"]
    assert (call["grpc.method"], call["repository"]) == (f"SSHService/{FETCH}", f"default/{name}")
    [child] = by_kind["state dump: child"]
    assert (child["command"], child["cgroup.path"]) == ("git upload-pack", "")
    [queue] = by_kind["state dump: queue"]
    assert (queue["key"], queue["running"], queue["waiting"]) == (name, 1, 0)
    stacks = [str(line["stack"]) for line in by_kind["state dump: task"]]
    assert any("serve_stateful" in stack for stack in stacks), stacks
    threads = [line["names"] for line in by_kind["state dump: thread"]]
    assert "MainThread" in threads
    assert lines[-1]["lines"] == len(lines) - 2
    assert SECRET not in json.dumps(lines)


def test_many_signals_do_no_harm_to_a_node_whose_threads_are_at_work(looker: Looker) -> None:
    before = len(looker.node.log())
    with ThreadPoolExecutor(4) as lookers:
        looks = [lookers.submit(looker.look) for _ in range(8)]
        while not all(look.done() for look in looks):
            os.kill(looker.node.pid, signal.SIGUSR2)
            time.sleep(0.0005)  # less than an answer takes; a signal that waits is not counted
    assert all(look.result().is_healthy for look in looks)
    wait_until(lambda: "state dump ends" in looker.node.log()[before:], "the state to be dumped")
    assert looker.look().is_healthy
    assert looker.node.errors() == []


# A loop that stands still


@pytest.fixture
def stuck(own: Looker) -> Iterator[Looker]:
    """The node of `own`, started again with an event loop that stands still."""
    own.node.stop()
    fifo = own.node.directory / "fifo"
    os.mkfifo(fifo)
    own.node.start(sys.executable, STUCK, own.config, fifo)
    yield own
    fifo.write_bytes(b"go on")
    wait_until(lambda: own.look().is_healthy, "the loop to move")
    own.node.stop()


def test_a_node_whose_loop_stands_still_says_so_and_where(stuck: Looker) -> None:
    said = stuck.gitaly("status")
    assert said.code == 1
    assert "loop lag stuck" in said.stdout
    assert said.stdout.splitlines()[-1].startswith(
        "WRONG: the event loop has not moved for 1 seconds, it is at "
    )
    assert said.stdout.splitlines()[-1].endswith(" main.<locals>.hold_the_loop")


def test_a_node_whose_loop_stands_still_dumps_its_state(stuck: Looker) -> None:
    lines = dump_of(stuck.node)
    threads = [x for x in lines if x["msg"] == "state dump: thread" and x["names"] == "MainThread"]
    assert "hold_the_loop" in str(threads[0]["stack"])
    [node] = [x for x in lines if x["msg"] == "state dump: node"]
    assert node["loop_lag_seconds"] is None
    assert "the event loop has not moved" in str(node["wrong"])
    assert any(x["msg"] == "state dump: task" for x in lines)
