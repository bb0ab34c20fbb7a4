"""One process takes the place of another, and no client notices."""

import contextlib
import os
import shutil
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare, make_work
from tests.e2e.conversation import Conversation, read_rest, stalled_fetch
from tests.e2e.node_process import PATIENCE_SECONDS, free_port, wait_until
from tests.faults.nodes import ask_health
from tests.supervision.callers import (
    Tally,
    kept_connection,
    new_connection,
    repeated,
    whole_program,
)
from tests.supervision.service import Manager, Service, held_start, waits_for_a_pipe, watched

RESTARTS = int(os.environ.get("GITALY_TEST_RESTARTS", "1"))
MEGABYTE = 1024 * 1024


def test_a_restart_under_load_fails_no_clone_and_refuses_no_connection(
    service: Callable[..., Service], big: Path, certificate: Path, tmp_path: Path
) -> None:
    node = service(certificate=certificate)
    node.start()
    make_bare(node, "big.git", source=big)
    make_bare(node, "small.git", source=make_work(tmp_path / "work"))
    for _ in range(RESTARTS):
        with slow_clones(node) as clones, load_on(node) as tallies:
            old = node.restart()
            # Others end soon: these three wait for their clients.
            wait_until(partial(says_left, node, old, "3 clones left"), "three to be left")
            with watched(old) as ended:
                for clone in clones:
                    assert read_rest(clone) > 20 * MEGABYTE
                    clone.say(b"")
                    assert clone.ended() == (0, "")
                assert ended()
            before = [tally.good for tally in tallies]
            wait_until(partial(have_gone_on, tallies, before), "all to be served by the new one")
        assert [tally.errors for tally in tallies] == [[]] * len(tallies)
        end = ["[graceful upgrade] stopped old Gitaly", "Gitaly shutdown"]
        assert node.messages(old)[-2:] == end
    node.stop()
    assert not node.socket.exists()
    assert node.errors() == []


@contextmanager
def slow_clones(node: Service) -> Iterator[list[Conversation]]:
    """One at each listener, whose client reads nothing for the moment."""
    with ExitStack() as stack:
        ways = [Way(node=node, repository="big.git", listener=x) for x in ("tcp", "tls", "unix")]
        yield [stack.enter_context(stalled_fetch(way)) for way in ways]


@contextmanager
def load_on(node: Service) -> Iterator[list[Tally]]:
    """Callers with a new connection for each call, and with one that they keep, and whole gits."""
    targets = (f"127.0.0.1:{node.tcp}", f"unix:{node.socket}")
    with ExitStack() as stack:
        calls = [new_connection(target) for target in targets]
        calls += [stack.enter_context(kept_connection(target)) for target in targets]
        calls += [whole_program(node, listener, "small.git") for listener in ("tls", "unix")]
        yield [stack.enter_context(repeated(call)) for call in calls]


def have_gone_on(tallies: list[Tally], before: list[int]) -> bool:
    return all(tally.good > earlier for tally, earlier in zip(tallies, before, strict=True))


def says_left(node: Service, pid: int, words: str) -> bool:
    lines = [line for line in node.lines() if line["pid"] == pid and "left" in line]
    return any(line["left"].startswith(f"{words}, oldest ") for line in lines)


def test_the_manager_hears_of_the_new_process_and_what_the_old_one_still_does(
    service: Callable[..., Service], manager: Manager, big: Path
) -> None:
    node = service(environment={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"})
    node.start()
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")) as talk:
        old = node.restart()
        # From both, in any order: the old one may go then, and the new one serves.
        said = [manager.hear_until("MAINPID", str(node.pid)) for _ in range(2)]
        assert {"MAINPID": str(node.pid)} in said
        assert [message["READY"] for message in said if "READY" in message] == ["1"]
        status = f"Serving on unix, tcp; no calls running; process {old} before it: 1 clone left"
        assert manager.hear_until("STATUS", status)["WATCHDOG"] == "1"
        with watched(old) as ended:
            read_rest(talk)
            assert ended()
    assert node.pid_file.read_text() == str(node.pid)
    manager.hear_until("STATUS", "Serving on unix, tcp; no calls running")
    node.stop()
    # Neither process has said that the service stops before it did.
    assert manager.hear_until("STOPPING")["STATUS"] == "Stopping: no calls left"


def test_metrics_are_those_of_the_new_process_and_ports_stay_whoever_chose_them(
    service: Callable[..., Service],
) -> None:
    metrics = free_port()
    node = service(top=f'prometheus_listen_addr = "127.0.0.1:{metrics}"\n', tcp=0)
    node.start()
    for _ in range(5):
        ask_health(f"unix:{node.socket}")
    ports = listening_ports(node.pid)
    old = node.restart()
    node.logged("Gitaly shutdown", old)
    assert listening_ports(node.pid) == ports
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as page:
        assert 'gitaly_connections_total{type="unix"} 1.0' in page.read().decode()
    node.stop()


def listening_ports(pid: int) -> list[int]:
    inodes = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.append(str(link.readlink()))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return sorted(int(row[1].split(":")[1], 16) for row in found)


def test_the_new_process_may_listen_elsewhere(service: Callable[..., Service]) -> None:
    node = service()
    node.start()
    former, node.tcp = node.tcp, free_port()
    node.config.write_text(node._configuration())
    old = node.restart()
    assert ask_health(f"127.0.0.1:{node.tcp}")
    node.logged("Gitaly shutdown", old)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", former))
    assert ask_health(f"unix:{node.socket}")
    node.stop()


def test_sockets_of_systemd_are_passed_on_and_stay_systemds(
    service: Callable[..., Service], tmp_path: Path
) -> None:
    node = service()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(node.socket))
        listening.listen(8)
        node.passed = [listening]
        node.start()
        old = node.restart()
        node.logged("Gitaly shutdown", old)
        assert ask_health(f"unix:{node.socket}")
        node.stop()
        assert node.socket.exists()


# It does not succeed, and the old process goes on


def assert_goes_on(node: Service, old: int, why: str) -> None:
    failed = node.logged("Upgrade failed", old)
    assert why in failed["error"]
    assert ask_health(f"127.0.0.1:{node.tcp}")
    assert ask_health(f"unix:{node.socket}")
    assert node.pid_file.read_text() == str(old)


def test_a_broken_configuration_leaves_everything_as_it_was_and_is_said(
    service: Callable[..., Service], manager: Manager
) -> None:
    node = service(environment={"NOTIFY_SOCKET": str(manager.path)})
    node.start()
    good = node.config.read_text()
    node.config.write_text("listen_addr = \n")
    old = node.order_restart()
    assert_goes_on(node, old, f'load config: config_path "{node.config}": line 1: load toml: ')
    assert (
        "the last upgrade failed: process "
        in manager.hear_until("STATUS", "Serving on unix, tcp; no calls running;")["STATUS"]
    )
    node.config.write_text(good)
    node.restart()  # and the next one succeeds
    node.stop()


def test_an_address_that_is_in_use_is_found_before_anybody_gives_anything_up(
    service: Callable[..., Service],
) -> None:
    node = service()
    node.start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        text = node.config.read_text()
        node.config.write_text(f'prometheus_listen_addr = "{address}"\n{text}')
        old = node.order_restart()
        assert_goes_on(node, old, f"listen on {address}: Address already in use")
    node.stop()


def test_a_new_process_that_is_killed_while_it_starts_takes_nothing_with_it(
    service: Callable[..., Service],
) -> None:
    node = service()
    node.start()
    good = node.config.read_text()
    with repeated(new_connection(f"127.0.0.1:{node.tcp}")) as tally, held_start(node) as (old, new):
        os.kill(new, signal.SIGKILL)
        assert_goes_on(node, old, f"process {new} ended by SIGKILL before it served")
    assert tally.errors == []
    node.config.write_text(good)
    node.restart()
    node.stop()


def test_a_new_process_that_dies_while_the_old_one_accepts_nothing_refuses_nobody(
    service: Callable[..., Service],
) -> None:
    """The hardest moment: it has its turn, hangs, and is killed."""
    node = service()
    node.start()
    good = node.config.read_text()
    with held_start(node) as (old, new):
        # The file is written between the turn of the new process and the end of the old one.
        os.mkfifo(f"{node.pid_file}.{new}")
        (node.directory / "token").write_text("secret\n")
        wait_until(lambda: waits_for_a_pipe(new), "the new process to write its number")
        with ExitStack() as callers:
            targets = (f"127.0.0.1:{node.tcp}", f"unix:{node.socket}")
            calls = [callers.enter_context(repeated(new_connection(x))) for x in targets]
            waiting = [callers.enter_context(socket.create_connection(("127.0.0.1", node.tcp)))]
            os.kill(new, signal.SIGKILL)
            node.logged("Upgrade failed", old)
            wait_until(lambda: all(tally.good for tally in calls), "callers to be served")
        assert [tally.errors for tally in calls] == [[], []]
        assert waiting
    assert_goes_on(node, old, f"process {new} ended by SIGKILL before it served")
    node.config.write_text(good)
    node.restart()  # which also removes what the dead one has left
    node.stop()


def test_a_new_process_that_fails_in_its_turn_serves_those_who_have_come(
    service: Callable[..., Service],
) -> None:
    node = service()
    node.start()
    node.pid_file.unlink()
    (node.pid_file / "in the way").mkdir(parents=True)
    with ExitStack() as callers:
        targets = (f"127.0.0.1:{node.tcp}", f"unix:{node.socket}")
        calls = [callers.enter_context(repeated(new_connection(target))) for target in targets]
        old = node.order_restart()
        failed = node.logged("Upgrade failed", old)
    assert f"GITALY_PID_FILE: {node.pid_file}: Is a directory" in failed["error"]
    assert [tally.errors for tally in calls] == [[], []]
    assert "Is a directory" in node.logged("the pid file cannot be written", old)["error"]
    shutil.rmtree(node.pid_file)
    node.restart()
    node.stop()


def test_a_program_that_never_serves_is_given_up_after_the_restart_timeout(
    service: Callable[..., Service], tmp_path: Path
) -> None:
    program = tmp_path / "gitaly"
    program.symlink_to(Path(os.environ.get("GITALY_TEST_PROGRAM", service().program[0])))
    node = service(program=[program], top='graceful_restart_timeout = "500ms"\n')
    node.start()
    program.unlink()
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    old = node.order_restart()
    assert_goes_on(node, old, "did not serve in time (graceful_restart_timeout is 0.5 s)")
    new = int(node.logged("[graceful upgrade] starting new Gitaly", old)["new_pid"])
    assert not Path(f"/proc/{new}").exists()
    node.stop()


def test_a_program_that_is_gone_is_named(service: Callable[..., Service], tmp_path: Path) -> None:
    program = tmp_path / "gitaly"
    program.symlink_to(service().program[0])
    node = service(program=[program])
    node.start()
    program.unlink()
    old = node.order_restart()
    assert_goes_on(node, old, f"{program} serve {node.config} cannot be started: No such file")
    node.stop()


def test_a_second_restart_waits_until_the_first_is_over(
    service: Callable[..., Service], big: Path
) -> None:
    node = service()
    node.start()
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")) as talk:
        old = node.restart()
        node.order_restart()
        refused = node.logged("Upgrade refused: the last one is not over", node.pid)
        assert refused["old_pid"] == old
        with watched(old) as ended:
            read_rest(talk)
            assert ended()
    node.logged("the process before this one has ended", node.pid)
    node.restart()
    node.stop()


# Ends


def test_a_signal_ends_the_wait_for_a_client_that_never_reads(
    service: Callable[..., Service], big: Path
) -> None:
    node = service()
    node.start()
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")):
        old = node.restart()
        with watched(old) as ended:
            os.kill(old, signal.SIGTERM)  # nobody wants to wait for it
            assert ended()
    error = node.logged("unclean Gitaly shutdown", old)["error"]
    assert error == "graceful upgrade: force shutdown"
    node.stop()


def test_a_stop_waits_for_what_the_old_process_still_does(
    service: Callable[..., Service], big: Path
) -> None:
    node = service()
    node.start()
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")) as talk:
        old = node.restart()
        new = node.pid
        with watched(new) as ended:
            os.kill(new, signal.SIGTERM)
            node.logged("[shutdown] stopping Gitaly", new)
            assert Path(f"/proc/{old}").exists()
            assert read_rest(talk) > 20 * MEGABYTE
            talk.say(b"")
            assert talk.ended() == (0, "")
            assert ended()
    log = [line for line in node.lines() if line["msg"] == "Gitaly shutdown"]
    assert [line["pid"] for line in log] == [old, new]


def test_a_stop_in_the_middle_of_a_restart_stops_both(service: Callable[..., Service]) -> None:
    node = service()
    node.start()
    old = node.order_restart()
    new = int(node.logged("[graceful upgrade] starting new Gitaly", old)["new_pid"])
    os.kill(old, signal.SIGTERM)
    assert node._process is not None
    assert node._process.wait(PATIENCE_SECONDS) == 0
    assert not Path(f"/proc/{new}").exists()
    assert not node.socket.exists()
    failed = node.logged("Upgrade failed", old)
    assert failed["error"] == "the node was told to stop meanwhile"


def test_a_node_started_by_its_module_is_replaced_by_the_same(
    service: Callable[..., Service],
) -> None:
    python = service().program[0].with_name("python")  # type: ignore[union-attr]  # a Path
    node = service(program=[python, "-c", "from gitaly.cli.main import main; main()"])
    node.start()
    node.restart()
    node.stop()
