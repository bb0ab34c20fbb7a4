"""Somebody dies in the middle: the client, git at the node, or the node."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Way, is_sound, run_git
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import half_a_push, read_rest, stalled_fetch
from tests.e2e.node_process import NodeProcess, terminate_group, wait_until

both_programs = pytest.mark.parametrize("program", ["helper", "ssh"])
every_listener = pytest.mark.parametrize("listener", ["tcp", "tls", "unix"])


@both_programs
@every_listener
def test_a_client_killed_in_a_big_fetch_leaves_nothing_behind(
    node: NodeProcess, name: str, big: Path, program: str, listener: str
) -> None:
    make_bare(node, name, source=big)
    way = Way(node=node, repository=name, program=program, listener=listener)
    with stalled_fetch(way) as talk:
        terminate_group(talk.process)
        wait_until(lambda: not node.children(), "git to end")


@both_programs
@every_listener
def test_a_client_killed_in_a_big_push_leaves_nothing_behind(
    node: NodeProcess, name: str, big: Path, program: str, listener: str
) -> None:
    path = make_bare(node, name)
    way = Way(node=node, repository=name, program=program, listener=listener)
    with half_a_push(way, big) as talk:
        terminate_group(talk.process)
        wait_until(lambda: not node.children(), "git to end")
    assert way.refs() == {}
    assert is_sound(path)


@both_programs
def test_a_client_whose_output_nobody_takes_any_more_ends(
    node: NodeProcess, name: str, big: Path, program: str
) -> None:
    make_bare(node, name, source=big)
    with stalled_fetch(Way(node=node, repository=name, program=program)) as talk:
        talk.stdout.close()
        code, _ = talk.ended()
        assert code == {"helper": 128, "ssh": 1}[program]


@both_programs
def test_a_git_killed_in_a_fetch_is_an_error_for_the_client(
    node: NodeProcess, name: str, big: Path, program: str
) -> None:
    make_bare(node, name, source=big)
    with stalled_fetch(Way(node=node, repository=name, program=program)) as talk:
        for pid in talk.git_at_the_node():
            os.kill(pid, signal.SIGKILL)
        read_rest(talk)
        code, said = talk.ended()
        assert code == {"helper": 128, "ssh": 1}[program]
        assert "running upload-pack: cmd wait: signal: killed" in said


@both_programs
def test_a_git_killed_in_a_push_is_an_error_for_the_client(
    node: NodeProcess, name: str, big: Path, program: str
) -> None:
    path = make_bare(node, name)
    with half_a_push(Way(node=node, repository=name, program=program), big) as talk:
        for pid in node.children():
            os.kill(pid, signal.SIGKILL)
        code, said = talk.ended()
        assert code == {"helper": 128, "ssh": 1}[program]
        assert "cmd wait: signal: killed" in said
        for quarantine in path.glob("objects/tmp_objdir*"):
            run_git("prune", "--expire=now", cwd=path)  # a killed git cannot clean up itself
            assert not quarantine.exists()


@both_programs
def test_a_node_killed_in_a_fetch_is_an_error_for_the_client(
    own_node: Callable[[], NodeProcess], big: Path, program: str
) -> None:
    node = own_node()
    make_bare(node, "demo.git", source=big)
    with stalled_fetch(Way(node=node, program=program)) as talk:
        node.kill()
        read_rest(talk)
        code, said = talk.ended()
        assert code == {"helper": 128, "ssh": 1}[program]
        assert said != ""
    node.start()


@both_programs
def test_a_node_killed_in_a_push_comes_back_with_a_sound_repository(
    own_node: Callable[[], NodeProcess], big: Path, program: str
) -> None:
    node = own_node()
    path = make_bare(node, "demo.git")
    way = Way(node=node, program=program)
    with half_a_push(way, big) as talk:
        node.kill()
        code, _ = talk.ended()
        assert code == {"helper": 128, "ssh": 1}[program]
    wait_until(lambda: not node.git_running(), "git to notice that its node is gone")

    node.start()

    assert way.refs() == {}
    assert is_sound(path)
    way.git("push", "--quiet", way.url, "main", cwd=big)
    assert way.refs() == {"refs/heads/main": run_git("rev-parse", "main", cwd=big)}
    assert is_sound(path)
