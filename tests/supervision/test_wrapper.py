"""`gitaly-wrapper`, with a real node and as a supervisor sees it."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.node_process import BIN, PATIENCE_SECONDS, wait_until
from tests.faults.nodes import ask_health
from tests.supervision.service import Service, watched

WRAPPER = BIN / "gitaly-wrapper"
GITALY = str(BIN / "gitaly")


@contextmanager
def wrapped(directory: Path, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A wrapper around any program, and the file with its log."""
    log = directory / "wrapper.log"
    env = {**os.environ, "GITALY_PID_FILE": str(directory / "pid"), "WRAPPER_JSON_LOGGING": "true"}
    with open(log, "w") as file, subprocess.Popen([WRAPPER, *command], stdout=file, env=env) as one:
        try:
            yield one, log
        finally:
            one.kill()


def test_a_restart_through_the_wrapper_as_runit_sees_it(service: Callable[..., Service]) -> None:
    node = service(program=[WRAPPER, GITALY])
    launched = node.launch()
    node.await_start()
    first = node.pid
    assert first != launched.pid
    os.kill(launched.pid, signal.SIGHUP)  # to the wrapper, which passes it on
    second = int(node.logged("Upgrade succeeded", first)["new_pid"])
    assert launched.wait(PATIENCE_SECONDS) == 0  # it goes with the process that it watched
    assert node.pid_file.read_text() == str(second)
    assert "wrapper for process shutting down" in node.log()

    again = node.launch()  # as its supervisor does
    wait_until(lambda: "adopting a process" in node.log(), "the wrapper to adopt the new process")
    assert ask_health(f"127.0.0.1:{node.tcp}")
    with watched(second) as ended:
        again.terminate()
        assert ended()
    # Whoever reaps the orphan, the wrapper ends with it.
    assert again.wait(PATIENCE_SECONDS) == 0
    assert "Gitaly shutdown" in node.messages(second)


def test_without_a_pid_file_it_says_so(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "GITALY_PID_FILE"}
    done = subprocess.run([WRAPPER, "true"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'missing pid file ENV variable \\"GITALY_PID_FILE\\"' in done.stdout


def test_without_a_program_it_says_how_it_is_used() -> None:
    done = subprocess.run([WRAPPER], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "forking_binary [args]" in done.stdout


def test_a_program_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with wrapped(tmp_path, str(tmp_path / "none")) as (one, log):
        assert one.wait(PATIENCE_SECONDS) == 1
    assert "No such file or directory" in log.read_text()


def test_it_exits_with_0_whatever_the_program_does(tmp_path: Path) -> None:
    with wrapped(tmp_path, "false") as (one, log):
        assert one.wait(PATIENCE_SECONDS) == 0
    assert "spawning a process" in log.read_text()


def test_signals_reach_the_program_and_it_is_told_of_upgrades(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = (
        f'trap "echo hup >> {said}" HUP; trap "echo usr2 >> {said}" USR2;'
        f' trap "exit 3" TERM; echo $GITALY_UPGRADES_ENABLED > {said};'
        " while :; do sleep 0.05; done"
    )
    with wrapped(tmp_path, "sh", "-c", script) as (one, log):
        wait_until(lambda: said.exists() and said.read_text() == "true\n", "the program to start")
        one.send_signal(signal.SIGHUP)
        wait_until(lambda: "hup" in said.read_text(), "SIGHUP")
        one.send_signal(signal.SIGURG)  # not passed on: it would end nothing, and says nothing
        one.send_signal(signal.SIGUSR2)
        wait_until(lambda: "usr2" in said.read_text(), "SIGUSR2")
        one.terminate()
        assert one.wait(PATIENCE_SECONDS) == 0
    assert "SIGURG" not in log.read_text()
    assert log.read_text().count("forwarding signal") == 3


def test_a_process_of_another_program_is_not_adopted(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    with wrapped(tmp_path, "true") as (one, log):
        assert one.wait(PATIENCE_SECONDS) == 0
    assert "spawning a process" in log.read_text()


def test_a_pid_file_with_more_than_a_number_is_not_believed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        (tmp_path / "pid").write_text(f"{sleeping.pid}\n")
        with wrapped(tmp_path, "sleep", "0") as (one, log):
            assert one.wait(PATIENCE_SECONDS) == 0
        assert "is not a number" in log.read_text()
        (tmp_path / "pid").write_text(str(sleeping.pid))
        with wrapped(tmp_path, "sleep", "0") as (one, log):
            wait_until(lambda: "monitoring process" in log.read_text(), "it to be adopted")
            assert one.poll() is None
            one.terminate()
            assert sleeping.wait(PATIENCE_SECONDS) == -signal.SIGTERM
            assert one.wait(PATIENCE_SECONDS) == 0
        assert "adopting a process" in log.read_text()
