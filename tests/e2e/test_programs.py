"""What the programs say when they are used wrongly, or cannot reach a node."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.clients import ENVIRONMENT, Answer, Way
from tests.e2e.conftest import make_bare
from tests.e2e.node_process import BIN, NodeProcess, free_port


def run(program: str, *arguments: str, data: str = "", **environment: str) -> Answer:
    done = subprocess.run(
        [program, *arguments],
        input=data,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Answer(done.returncode, done.stdout, done.stderr.strip())


def test_gitaly_ssh_needs_three_arguments() -> None:
    answer = run("gitaly-ssh", "upload-pack", "host")
    assert answer.code == 1
    assert "usage: gitaly-ssh" in answer.stderr


def test_gitaly_ssh_knows_three_commands() -> None:
    answer = run("gitaly-ssh", "rm", "host", "command")
    assert answer.code == 1
    assert 'invalid pack command: \\"rm\\"' in answer.stderr


def test_gitaly_ssh_needs_an_address() -> None:
    answer = run("gitaly-ssh", "upload-pack", "host", "command")
    assert answer.code == 1
    assert "gitaly address can not be empty" in answer.stderr


def test_gitaly_ssh_goes_to_its_directory_first(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    answer = run("gitaly-ssh", "upload-pack", "host", "command", GITALY_WD=missing)
    assert answer.code == 1
    assert f"unable to chdir to {missing}" in answer.stderr


def test_a_socket_may_be_named_from_the_directory_of_gitaly_ssh(
    node: NodeProcess, name: str
) -> None:
    make_bare(node, name)
    environment = Way(node=node, repository=name, program="ssh").environment()
    environment |= {"GITALY_ADDRESS": "unix:node.sock", "GITALY_WD": str(node.directory)}
    answer = run("gitaly-ssh", "upload-pack", "host", "command", data="0000", **environment)
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.startswith("000eversion 2")


def test_gitaly_ssh_says_what_is_wrong_with_its_payload(node: NodeProcess, name: str) -> None:
    environment = Way(node=node, repository=name, program="ssh").environment()
    environment["GITALY_PAYLOAD"] = '{"no": 1}'
    answer = run("gitaly-ssh", "upload-pack", "host", "command", **environment)
    assert answer.code == 1
    assert "unmarshaling payload failed" in answer.stderr


def test_feature_flags_and_the_correlation_id_go_along(node: NodeProcess, name: str) -> None:
    make_bare(node, name)
    environment = Way(node=node, repository=name, program="ssh").environment()
    environment |= {"CORRELATION_ID": f"id-of-{name}", "GITALY_FEATUREFLAGS": "gpg_signing:true,x"}
    answer = run("gitaly-ssh", "upload-pack", "host", "command", data="0000", **environment)
    assert answer.code == 0
    assert f'"correlation_id":"id-of-{name}"' in node.log()


@pytest.mark.parametrize("service", ["upload-pack", "receive-pack", "upload-archive"])
def test_gitaly_ssh_logs_the_status_of_the_node(node: NodeProcess, name: str, service: str) -> None:
    environment = Way(node=node, repository=name, program="ssh").environment(service)
    answer = run("gitaly-ssh", service, "host", "command", **environment)
    assert answer.code == 1
    assert 'msg="command returned error"' in answer.stderr
    assert "rpc error: code = NotFound desc = repository not found" in answer.stderr


def test_a_repository_that_does_not_exist_is_one_line(node: NodeProcess, name: str) -> None:
    way = Way(node=node, repository=name)
    answer = way.try_git("ls-remote", way.url)
    assert answer.code == 128
    assert answer.stderr == f"fatal: {way.url}: repository not found"


def test_a_node_that_does_not_answer_is_one_line(node: NodeProcess) -> None:
    port = free_port()
    url = f"gitaly://127.0.0.1:{port}/default/demo.git"
    answer = Way(node=node).try_git("ls-remote", url)
    assert answer.code == 128
    assert answer.stderr == f"fatal: {url}: dial tcp 127.0.0.1:{port}: connection refused"


def test_a_certificate_that_nobody_vouches_for_is_one_line(node: NodeProcess) -> None:
    way = Way(node=node, listener="tls", extra={"SSL_CERT_FILE": "/dev/null"})
    url = f"gitaly::tls://127.0.0.1:{node.tls}/default/demo.git"
    plain = Way(node=node, extra=way.extra)
    answer = plain.try_git("ls-remote", url)
    assert answer.code == 128
    assert answer.stderr.endswith("self-signed certificate")


@pytest.mark.parametrize(
    "url",
    [
        "gitaly://127.0.0.1:8075",
        "gitaly://127.0.0.1:8075/default",
        "gitaly://127.0.0.1:x/default/demo.git",
        "gitaly:///default/demo.git",
        "gitaly::unix:///no/storage",
        "gitaly::nonsense",
    ],
)
def test_a_url_that_cannot_be_right_is_one_line(node: NodeProcess, url: str) -> None:
    answer = Way(node=node).try_git("ls-remote", url)
    assert answer.code == 128
    assert answer.stderr.startswith("fatal: ")
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["tls", "unix"])
def test_tls_and_sockets_have_schemes_of_their_own(
    node: NodeProcess, name: str, tmp_path: Path, kind: str
) -> None:
    make_bare(node, name)
    (tmp_path / f"git-remote-gitaly+{kind}").symlink_to(BIN / "git-remote-gitaly")
    path = {"PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    way = Way(node=node, repository=name, listener=kind, extra=path)
    url = way.url.replace("gitaly::tls", "gitaly+tls").replace("gitaly::unix", "gitaly+unix")
    assert url.startswith(f"gitaly+{kind}://")
    assert way.git("ls-remote", url) == ""


def test_the_password_in_a_url_is_not_shown(node: NodeProcess, name: str) -> None:
    way = Way(node=node, repository=name)
    answer = way.try_git("ls-remote", way.url.replace("://", "://me:hidden@"))
    assert answer.stderr == f"fatal: {way.url}: repository not found"


def test_gitaly_hooks_is_not_for_hands() -> None:
    answer = run("gitaly-hooks", "update", "refs/heads/main", "0", "1")
    assert answer.code == 1
    assert answer.stderr.startswith('gitaly-hooks: subcommand name invalid: "update"')


def test_gitaly_hooks_check_is_gitaly_check(node: NodeProcess) -> None:
    config = str(node.directory / "config.toml")
    assert run("gitaly-hooks", "check", config) == run("gitaly", "check", config)
    assert run("gitaly-hooks", "check", config).code == 0


@pytest.mark.parametrize("program", ["gitaly", "gitaly-hooks"])
@pytest.mark.parametrize("arguments", [[], [""], ["a", "b"]], ids=["none", "empty", "two"])
def test_check_wants_one_file(program: str, arguments: list[str]) -> None:
    answer = run(program, "check", *arguments)
    assert (answer.code, answer.stderr) == (2, "error: invalid argument(s)")
