"""A configuration that is changed under a node at work, key by key, and what operators see."""

import base64
import hmac
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.clients import Way, commit
from tests.e2e.conftest import make_bare, make_work
from tests.e2e.looking import Looker
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import BIN, NodeProcess, terminate_group, wait_until
from tests.e2e.pushes.pushers import Pusher
from tests.e2e.reloading import append, content, edit, hang_up, outcomes, reload, reloaded, write
from tests.e2e.test_limits import FETCH, Limited, is_served
from tests.hooks.gitlab.server import GitLabServer

HELD = 'rpc = "/gitaly.SSHService/SSHUploadPackWithSidechannel"\nmax_concurrency = '


@pytest.fixture(scope="module")
def page() -> MetricsPage:
    return MetricsPage()


@pytest.fixture(scope="module")
def edited_node(
    tmp_path_factory: pytest.TempPathFactory, page: MetricsPage
) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path_factory.mktemp("n"), top=page.configuration)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def here(edited_node: NodeProcess) -> Iterator[NodeProcess]:
    """A node whose file the test may edit; afterwards it is what it was."""
    text = content(edited_node)
    yield edited_node
    write(edited_node, text)
    reloaded(edited_node)


@pytest.fixture
def demo(here: NodeProcess, name: str, work: Path) -> Way:
    """A repository at that node."""
    make_bare(here, name, source=work)
    return Way(node=here, repository=name)


@pytest.fixture
def limited(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Limited]:
    made = Limited(tmp_path_factory.mktemp("n"), make_work(tmp_path / "work"))
    yield made
    made.stop()


def test_a_new_token_counts_at_once_and_the_old_one_no_more(
    here: NodeProcess, work: Path, demo: Way
) -> None:
    append(here, '[auth]\ntoken = "first"\n')
    assert reloaded(here)["changed"] == "auth.token"
    first, second = (replace(demo, token=token) for token in ("first", "second"))
    assert "refs/heads/main" in first.git("ls-remote", first.url)
    edit(here, 'token = "first"', 'token = "second"')
    reloaded(here)
    assert "wrong hmac signature" in first.try_git("ls-remote", first.url).stderr
    assert "refs/heads/main" in second.git("ls-remote", second.url)
    commit(work, "more")
    second.git("push", second.url, "main", cwd=work)  # its hooks have the new token too
    assert "first" not in here.log() and "second" not in here.log()


def test_a_token_file_is_read_again(here: NodeProcess, demo: Way) -> None:
    file = here.directory / "token"
    file.touch(0o600)
    file.write_text("first\n")
    append(here, f'[auth]\ntoken_file = "{file}"\n')
    reloaded(here)
    file.write_text("second\n")
    assert reloaded(here)["changed"] == "auth.token_file (content)"
    way = replace(demo, token="second")
    way.git("ls-remote", way.url)
    file.write_text("third\n")
    file.chmod(0o644)
    assert "file permission 0644 is too permissive" in reload(here)["problems"]
    way.git("ls-remote", way.url)


def test_a_push_goes_on_while_its_token_is_replaced(
    here: NodeProcess, work: Path, tmp_path: Path, demo: Way
) -> None:
    hook, waiting, go = demo.path / "custom_hooks" / "pre-receive", tmp_path / "1", tmp_path / "2"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\n>{waiting}\nwhile ! test -e {go}; do sleep 0.02; done\n")
    hook.chmod(0o755)
    update = hook.with_name("update")
    update.write_text(f"#!/bin/sh\n>{tmp_path}/3\n")
    update.chmod(0o755)
    append(here, '[auth]\ntoken = "first"\n')
    reloaded(here)
    commit(work, "more")
    way = replace(demo, token="first")
    push = way.start("push", way.url, "main", cwd=work)
    wait_until(waiting.exists, "the hook to run")
    edit(here, 'token = "first"', 'token = "second"')
    reloaded(here)
    go.touch()
    assert push.communicate(timeout=60)[1].decode().endswith("main -> main\n")
    assert push.returncode == 0
    assert (tmp_path / "3").exists()


def test_nobody_loses_a_place_whichever_way_a_limit_moves(limited: Limited) -> None:
    clients = limited.hold_many(4)
    edit(limited.node, f"{HELD}2\nmax_queue_size = 3", f"{HELD}1\nmax_queue_size = 1")
    reloaded(limited.node)
    limited.until(2, 2)
    assert limited.hold().wait(20) == 1
    assert limited.page.sum("gitaly_requests_dropped_total", reason="max_size", **FETCH) == 1
    edit(limited.node, f"{HELD}1", f"{HELD}4")
    assert reloaded(limited.node)["changed"] == "concurrency[0].max_concurrency"
    limited.until(4, 0)
    wait_until(lambda: all(map(is_served, clients)), "all to be served")


def test_a_limit_for_a_method_that_had_none(here: NodeProcess, page: MetricsPage) -> None:
    append(here, '[[concurrency]]\nrpc = "/gitaly.RefService/ListRefs"\nmax_concurrency = 3\n')
    assert reloaded(here)["changed"] == "concurrency[]"
    labels = {"grpc_method": "ListRefs", "grpc_service": "gitaly.RefService"}
    assert page.sum("gitaly_concurrency_limiting_in_progress", **labels) == 0
    assert 'limit="perRPC/gitaly.RefService/ListRefs"' in page.text()


def test_packs_of_clients_are_limited_from_the_reload_on(
    here: NodeProcess, demo: Way, tmp_path: Path
) -> None:
    demo.clone(tmp_path / "one")
    assert "PackObjectsHookWithSidechannel" not in here.log()
    append(here, "[pack_objects_limiting]\nmax_concurrency = 3\n")
    reloaded(here)
    demo.clone(tmp_path / "two")
    assert "PackObjectsHookWithSidechannel" in here.log()


def test_the_log_gets_quiet_and_talkative_again(here: NodeProcess, demo: Way) -> None:
    edit(here, 'format = "json"\n', 'format = "json"\nlevel = "error"\n')
    hang_up(here)
    wait_until(lambda: is_quiet(demo), "the log to fall silent")
    edit(here, 'level = "error"', 'level = "info"')
    assert reloaded(here)["changed"] == "logging.level"
    assert not is_quiet(demo)


def is_quiet(way: Way) -> bool:
    before = way.node.log()
    way.git("ls-remote", way.url)
    return way.node.log() == before


def test_rules_of_a_standalone_node_hold_from_the_reload_on(
    here: NodeProcess, work: Path, demo: Way
) -> None:
    commit(work, "more")
    append(here, "[[standalone.rule]]\nread_only = true\n")
    assert reloaded(here)["changed"] == "standalone.rule[]"
    assert "read-only" in demo.try_git("push", demo.url, "main", cwd=work).stderr
    edit(here, "read_only = true", "read_only = false")
    reloaded(here)
    demo.git("push", demo.url, "main", cwd=work)


def test_a_directory_of_custom_hooks_that_comes_later_is_found(
    here: NodeProcess, work: Path, demo: Way
) -> None:
    hook = here.directory / "hooks" / "pre-receive.d" / "no"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\necho no, thanks >&2\nexit 1\n")
    hook.chmod(0o755)
    append(here, f'[hooks]\ncustom_hooks_dir = "{hook.parents[1]}"\n')
    reloaded(here)
    commit(work, "more")
    assert "no, thanks" in demo.try_git("push", demo.url, "main", cwd=work).stderr


def test_settings_of_git_reach_the_next_git(here: NodeProcess, demo: Way) -> None:
    assert "refs/tags/v1" in demo.git("ls-remote", demo.url)
    append(here, '[[git.config]]\nkey = "uploadpack.hideRefs"\nvalue = "refs/tags"\n')
    assert reloaded(here)["changed"] == "git.config[]"
    assert "refs/tags/v1" not in demo.git("ls-remote", demo.url)


def test_the_secret_of_gitlab_is_read_again(
    own_node: Callable[[str], NodeProcess], work: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first")
    with GitLabServer().serving() as gitlab:
        node = own_node(f'[gitlab]\nurl = "{gitlab.url}"\nsecret_file = "{secret}"\n')
        make_bare(node, "demo.git", source=work)
        pusher = Pusher(node=node, work=work, relative_path="demo.git")
        secret.write_text("second")
        assert reloaded(node)["changed"] == "gitlab.secret_file (content)"
        commit(work, "more")
        assert pusher.push("main").code == 0
        head, claims, given = gitlab.calls[0].headers["Gitlab-Shell-Api-Request"].split(".")
        secret.unlink()
        assert f'gitlab.secret_file: doesn\'t exist: "{secret}"' in reload(node)["problems"]
    signed = hmac.digest(b"second", f"{head}.{claims}".encode(), "sha256")
    assert base64.urlsafe_b64encode(signed).rstrip(b"=").decode() == given


def test_the_budget_of_the_cache_shrinks_what_is_in_it(
    own_node: Callable[[str], NodeProcess], work: Path, tmp_path: Path
) -> None:
    node = own_node("[pack_objects_cache]\nenabled = true\nmin_occurrences = 0\n")
    make_bare(node, "demo.git", source=work)
    way = Way(node=node)
    way.clone(tmp_path / "copy")
    cache = node.storage / "+gitaly/PackObjectsCache"
    wait_until(lambda: any(cache.glob("??/*")), "a pack in the cache")
    edit(node, "min_occurrences = 0\n", "min_occurrences = 0\nmax_bytes = 1\n")
    assert reloaded(node)["changed"] == "pack_objects_cache.max_bytes"
    wait_until(lambda: not any(cache.glob("??/*")), "the pack to go")


def test_a_cache_is_not_switched_off_without_a_restart(
    own_node: Callable[[str], NodeProcess], work: Path, tmp_path: Path
) -> None:
    node = own_node("[pack_objects_cache]\nenabled = true\nmin_occurrences = 0\n")
    make_bare(node, "demo.git", source=work)
    edit(node, "enabled = true", "enabled = false")
    line = reload(node)
    assert line["msg"] == "configuration reloaded, but not all of it"
    assert "pack_objects_cache.enabled" in line["needs_restart"]
    way = Way(node=node)
    way.clone(tmp_path / "copy")
    cache = node.storage / "+gitaly/PackObjectsCache"
    wait_until(lambda: any(cache.glob("??/*")), "a pack in the cache")


def test_an_invalid_file_changes_nothing_at_all(
    here: NodeProcess, page: MetricsPage, demo: Way
) -> None:
    refused = page.sum("gitaly_config_reloads_total", outcome="refused")
    append(
        here,
        '[auth]\ntoken = "secret"\n[[concurrency]]\nrpc = "/gitaly.RefService/ListRefs"\n'
        'max_concurrency = -1\nmax_queue_wait = "-1s"\n',
    )
    line = reload(here)
    assert (line["level"], line["msg"].partition(":")[0]) == ("error", "configuration not reloaded")
    assert "concurrency.[0].max_concurrency: not in range: -1" in line["problems"]
    assert "concurrency.[0].max_queue_wait: not in range: -1s" in line["problems"]
    assert "refs/heads/main" in demo.git("ls-remote", demo.url)
    assert page.sum("gitaly_config_reloads_total", outcome="refused") == refused + 1
    assert page.sum("gitaly_config_last_reload_successful") == 0
    said = Looker(here).gitaly("status")
    assert said.code == 1
    assert said.stdout.splitlines()[-1] == (
        f"WRONG: the configuration was not reloaded: {line['problems']}"
    )


def test_what_needs_a_restart_is_named_and_counted(here: NodeProcess, page: MetricsPage) -> None:
    edit(here, '[logging]\nformat = "json"', '[logging]\nformat = "text"\nlevel = "debug"')
    line = reload(here)
    assert (line["level"], line["changed"]) == ("warning", "logging.level")
    assert line["needs_restart"] == "logging.format"
    assert page.sum("gitaly_config_keys_waiting_for_restart") == 1
    said = Looker(here).gitaly("status")
    assert said.code == 0
    assert "  remark: these keys of the file need a restart: logging.format" in said.stdout


def test_many_signals_end_with_what_the_file_says_last(here: NodeProcess, demo: Way) -> None:
    before = len(outcomes(here))
    append(here, '[auth]\ntoken = "0"\n')
    hang_up(here)
    for number in range(1, 10):
        edit(here, f'token = "{number - 1}"', f'token = "{number}"')
        hang_up(here)
    way = replace(demo, token="9")
    wait_until(lambda: way.try_git("ls-remote", way.url).code == 0, "the last token to count")
    found = outcomes(here)[before:]
    assert 1 <= len(found) <= 10
    assert {line["level"] for line in found} == {"info"}


def test_a_signal_during_the_start_is_answered_after_it(tmp_path: Path) -> None:
    """From the moment on in which the program runs, the signal never ends the process."""
    (tmp_path / "storage").mkdir()
    go, command, config = tmp_path / "go", tmp_path / "command", tmp_path / "config.toml"
    wait = f">{tmp_path}/asked\nwhile ! test -e {go}; do sleep 0.02; done\n"
    command.write_text(f"#!/bin/sh\n{wait}echo '{{}}'\n")
    command.chmod(0o755)
    config.write_text(
        f'socket_path = "{tmp_path}/s"\nconfig_command = "{command}"\n[logging]\nformat = "json"\n'
        f'[[storage]]\nname = "default"\npath = "{tmp_path}/storage"\n'
    )
    said = []
    with subprocess.Popen([BIN / "gitaly", "serve", config], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        wait_until((tmp_path / "asked").exists, "the start to be under way")
        node.send_signal(signal.SIGHUP)
        go.touch()
        for line in node.stdout:
            said.append(json.loads(line)["msg"])
            if said[-1] == "configuration reloaded":
                node.terminate()
    assert node.returncode == 0
    assert said.index("Started Gitaly") < said.index("configuration reloaded")


def test_a_signal_while_the_node_stops_is_told_and_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, work: Path
) -> None:
    node = NodeProcess(tmp_path_factory.mktemp("n"))
    node.start()
    make_bare(node, "demo.git", source=work)
    client = subprocess.Popen(
        ["gitaly-ssh", "upload-pack", "gitaly", "git-upload-pack 'x'"],
        env=Way(node=node, program="ssh", version=0).environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    wait_until(lambda: is_served(client), "the client to be served")
    os.kill(node.pid, signal.SIGTERM)
    wait_until(lambda: "starting grace period" in node.log(), "the node to stop")
    hang_up(node)
    said = "configuration not reloaded: the node is stopping"
    wait_until(lambda: said in node.log(), "the node to say so")
    assert client.poll() is None
    terminate_group(client)
    client.communicate()
    assert node.ended() == 0
