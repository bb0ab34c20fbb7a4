"""What systemd is told, and how."""

import asyncio
import io
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from gitaly.observe.log import make_logger
from gitaly.supervision.heartbeat import beat
from gitaly.supervision.notify import Notifier
from gitaly.tasks import background
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import stalled_fetch
from tests.faults.nodes import ask_health
from tests.git.support import children_of
from tests.supervision.service import Manager, Service, parsed
from tests.transport.wires import until


def test_without_a_manager_nothing_is_said_and_nothing_fails() -> None:
    notifier = Notifier.taken_from({}, 1)
    assert not notifier.is_heard
    assert notifier.watchdog_seconds is None
    notifier.ready("x")


def test_the_variables_are_not_left_to_what_the_node_starts(manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": "7",
        "PATH": "/bin",
    }
    notifier = Notifier.taken_from(environment, 7)
    assert environment == {"PATH": "/bin"}
    assert notifier.watchdog_seconds == 30
    # A successor inherits them; as the watchdog then waits for another process, without its number.
    assert notifier.inheritance == {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "30000000",
    }


def test_a_watchdog_of_another_process_is_none_of_ours() -> None:
    environment = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}
    assert Notifier.taken_from(environment, 7).watchdog_seconds is None


def test_a_status_is_one_line_whatever_is_in_it(manager: Manager) -> None:
    Notifier(str(manager.path)).status("no\nREADY=1  news")
    assert manager.hear() == {"STATUS": "no READY=1 news"}


def test_a_reload_carries_the_time_that_systemd_wants(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(str(manager.path)).reloading("reading")
    message = manager.hear()
    assert before <= int(message.pop("MONOTONIC_USEC")) < before + 60_000_000
    assert message == {"RELOADING": "1", "STATUS": "reading"}


def test_names_without_a_file_are_understood() -> None:
    name = f"gitaly-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        Notifier(f"@{name}").status("hello")
        assert parsed(listening.recv(100)) == {"STATUS": "hello"}


def test_a_manager_that_is_gone_or_of_an_unknown_kind_harms_nobody(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "none")).ready("x")
    assert not Notifier("vsock:2:1234").is_heard


def test_a_process_that_was_replaced_says_nothing_more(manager: Manager) -> None:
    notifier = Notifier(str(manager.path))
    notifier.succeeded_by(99)
    notifier.stopping("no longer")
    Notifier(str(manager.path)).status("another")
    assert manager.hear() == {"MAINPID": "99"}
    assert manager.hear() == {"STATUS": "another"}


# Signs of life


async def test_signs_of_life_come_twice_in_each_period(manager: Manager) -> None:
    notifier = Notifier(str(manager.path), watchdog_seconds=0.1)

    async def answers() -> bool:
        return True

    async with background(beat(notifier, answers, lambda: "fine", make_logger(io.BytesIO()))):
        for _ in range(3):
            said = await asyncio.to_thread(manager.hear)
            assert said == {"WATCHDOG": "1", "STATUS": "fine"}


async def test_a_loop_that_hangs_gives_no_sign_of_life(manager: Manager) -> None:
    notifier = Notifier(str(manager.path), watchdog_seconds=0.02)

    async def answers() -> bool:
        return True

    async with background(beat(notifier, answers, lambda: "", make_logger(io.BytesIO()))):
        await asyncio.to_thread(manager.hear)
        manager.pending()
        time.sleep(0.3)  # noqa: ASYNC251  # the loop hangs: that is the point
        assert manager.pending() == []
        await asyncio.to_thread(manager.hear)


async def test_a_node_that_does_not_answer_gives_no_sign_of_life_and_says_why(
    manager: Manager,
) -> None:
    asked, log = 0, io.BytesIO()

    async def answers() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            return False
        await asyncio.Event().wait()
        return True

    notifier = Notifier(str(manager.path), watchdog_seconds=0.1)
    async with background(beat(notifier, answers, lambda: "", make_logger(log))):
        await until(lambda: asked >= 3)
    assert manager.pending() == []
    lines = log.getvalue().decode().splitlines()
    assert "no sign of life for systemd's watchdog: the node does not answer itself" in lines[0]
    assert len(lines) == 2


# The real process


def test_ready_means_that_every_listener_answers(
    service: Callable[..., Service], manager: Manager, certificate: Path
) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    node = service(environment=environment, certificate=certificate)
    launched = node.launch()
    said = manager.hear_until("READY")
    assert said["MAINPID"] == str(launched.pid)
    assert said["STATUS"] == "Serving on unix, tcp, tls; no calls running"
    assert ask_health(f"127.0.0.1:{node.tcp}")
    assert ask_health(f"unix:{node.socket}")
    with socket.create_connection(("127.0.0.1", node.tls)):
        pass
    node.await_start()
    assert manager.hear_until("WATCHDOG")["WATCHDOG"] == "1"
    node.stop()
    assert manager.hear_until("STOPPING")["STATUS"] == "Stopping: no calls left"


def test_what_runs_is_in_the_status_and_children_know_nothing_of_the_manager(
    service: Callable[..., Service], manager: Manager, big: Path
) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    node = service(environment=environment)
    node.start()
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")):
        said = manager.hear_until("STATUS", "Serving on unix, tcp; 1 clone running, oldest ")
        assert said["WATCHDOG"] == "1"
        for pid in children_of(node.pid):
            inherited = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in inherited
            assert b"WATCHDOG" not in inherited
    node.stop()
