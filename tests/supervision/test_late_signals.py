"""Signals that come while one process takes the place of another, and after it has."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import read_rest, stalled_fetch
from tests.e2e.node_process import wait_until
from tests.faults.nodes import ask_health
from tests.supervision.service import Service, held_start, waits_for_a_pipe, watched


def test_a_reload_that_the_old_process_is_told_of_reaches_the_new_one(
    service: Callable[..., Service],
) -> None:
    """The new process has read the file by then, and would not know what was written later."""
    node = service()
    node.start()
    good = node.config.read_text()
    with held_start(node) as (old, new):
        node.config.write_text(f"{good}[git]\ncatfile_cache_size = 7\n")
        os.kill(old, signal.SIGHUP)
        node.logged("configuration reloaded", old)
        (node.directory / "token").write_text("secret\n")
        node.logged("Upgrade succeeded", old)
        node.main_pid = new
    assert "git.catfile_cache_size" in node.logged("configuration reloaded", new)["changed"]
    node.stop()


def test_signals_for_a_process_that_drains_reach_the_one_that_serves_or_are_answered(
    service: Callable[..., Service], big: Path
) -> None:
    node = service()
    node.start()
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")) as talk:
        old = node.restart()
        os.kill(old, signal.SIGHUP)
        assert node.logged("configuration reload passed on", old)["new_pid"] == node.pid
        assert node.logged("configuration reloaded", node.pid)["changed"] == "nothing"
        os.kill(old, signal.SIGUSR1)
        refused = node.logged("Upgrade refused: another process serves already", old)
        assert refused["new_pid"] == node.pid
        with watched(old) as ended:
            read_rest(talk)
            assert ended()
    node.stop()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_comes_too_early_ends_nothing(
    service: Callable[..., Service], number: signal.Signals
) -> None:
    """While the configuration is read, nobody knows what to do about it."""
    node = service()
    token = node.directory / "token"
    os.mkfifo(token, 0o600)
    later = node.directory / "later"  # for whoever reads it once more
    later.write_text("secret\n")
    later.chmod(0o600)
    node.extra = f"[auth]\ntoken_file = '{token}'\n"
    process = node.launch()
    wait_until(lambda: waits_for_a_pipe(process.pid), "the node to read its token")
    os.kill(process.pid, number)
    token.write_text("secret\n")
    later.rename(token)
    node.await_start()
    said = {
        signal.SIGHUP: "configuration reloaded",
        signal.SIGUSR1: "Upgrade succeeded",
        signal.SIGUSR2: "state dump ends",
    }[number]
    node.logged(said, process.pid)
    if number == signal.SIGUSR1:
        node.main_pid = int(node.logged(said, process.pid)["new_pid"])
    node.stop()


def test_a_socket_whose_path_has_changed_goes_with_the_process_that_listened(
    service: Callable[..., Service],
) -> None:
    node = service()
    node.start()
    former = node.socket
    moved = node.directory / "moved"
    node.config.write_text(node.config.read_text().replace(str(former), str(moved)))
    old = node.restart()
    node.logged("Gitaly shutdown", old)
    assert ask_health(f"unix:{moved}")
    assert not former.exists()  # nobody listens there: a client would be refused
    node.stop()
    assert not moved.exists()
