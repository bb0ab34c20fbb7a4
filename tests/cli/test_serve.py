"""`gitaly serve`, `check` and `configuration validate` as an operator meets them."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitaly.token import fingerprints

GITALY = Path(sys.executable).with_name("gitaly")


def configuration(directory: Path, more: str = "") -> Path:
    (directory / "storage").mkdir(exist_ok=True)
    (directory / "run").mkdir(exist_ok=True)
    path = directory / "config.toml"
    path.write_text(
        f'socket_path = "{directory}/g.sock"\nruntime_dir = "{directory}/run"\n'
        f"{more}\n"
        f'[[storage]]\nname = "default"\npath = "{directory}/storage"\n'
        '[logging]\nformat = "json"\n'
    )
    return path


def gitaly(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [str(GITALY), *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, **options
    )


def started(config: Path, env: dict[str, str] | None = None) -> tuple[list[dict[str, Any]], int]:
    """The log of a node that was stopped as soon as it had started, and its exit code."""
    with subprocess.Popen(
        [GITALY, "serve", config], stdout=subprocess.PIPE, text=True, env=env
    ) as node:
        assert node.stdout is not None
        lines = []
        for line in node.stdout:
            lines.append(json.loads(line))
            if lines[-1]["msg"] == "Started Gitaly":
                node.send_signal(signal.SIGTERM)
    return lines, node.returncode


def messages(lines: list[dict[str, Any]]) -> list[str]:
    return [line["msg"] for line in lines]


def test_a_node_says_what_it_is_and_ends_well(tmp_path: Path) -> None:
    lines, code = started(configuration(tmp_path))
    said = messages(lines)
    assert said[0] == "Starting Gitaly"
    assert lines[0]["git_version"].startswith("2.")
    assert (
        "standalone mode: no [gitlab] is configured, authenticated pushes are accepted unchecked"
        in said
    )
    assert said[-1] == "Gitaly shutdown"
    assert code == 0
    assert list((tmp_path / "run").iterdir()) == []
    assert not (tmp_path / "g.sock").exists()


def test_serve_may_be_left_out(tmp_path: Path) -> None:
    done = gitaly(tmp_path / "none.toml")
    assert done.returncode == 1
    assert done.stderr == (
        f'failed to configure Gitaly: load config: config_path "{tmp_path}/none.toml":'
        f" open {tmp_path}/none.toml: no such file or directory\n"
    )


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "a", "b"]])
def test_a_wrong_number_of_arguments_exits_with_2(arguments: list[str]) -> None:
    assert gitaly(*arguments).returncode == 2


def test_a_missing_storage_stops_the_start_and_is_named(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    (tmp_path / "storage").rmdir()
    done = gitaly("serve", config)
    assert done.returncode == 1
    assert done.stderr.endswith(f'invalid config: [0].path: doesn\'t exist: "{tmp_path}/storage"\n')


def test_features_that_are_not_built_yet_are_named_in_one_line(tmp_path: Path) -> None:
    more = '[bundle_uri]\ngo_cloud_url = "x"\n[offloading]\nenabled = true\n'
    lines, _ = started(configuration(tmp_path, more))
    assert "configured but not active: bundle_uri, offloading" in messages(lines)


def test_a_signing_key_that_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path) -> None:
    lines, _ = started(configuration(tmp_path, '[git]\nsigning_key = "/nonexistent/key"\n'))
    (line,) = [line for line in lines if line["msg"].startswith("git.signing_key")]
    assert line["msg"] == (
        "git.signing_key: failed to parse signing key: open file: no such file or directory"
    )
    assert (line["level"], line["path"]) == ("error", "/nonexistent/key")


def test_keys_that_nobody_knows_are_named(tmp_path: Path) -> None:
    lines, _ = started(configuration(tmp_path, "listen_adr = 1\n[gitaly-ruby]\nmax_rss = 1\n"))
    (unknown,) = [line for line in lines if line["msg"].startswith("unknown keys")]
    (legacy,) = [line for line in lines if line["msg"].startswith("keys of older versions")]
    assert unknown["keys"] == "listen_adr"
    assert legacy["keys"] == "gitaly-ruby"


def test_transitioning_is_said_loudly(tmp_path: Path) -> None:
    lines, _ = started(configuration(tmp_path, '[auth]\ntoken = "s"\ntransitioning = true\n'))
    assert (
        "Authentication is enabled but not enforced because transitioning=true."
        " Gitaly will accept unauthenticated requests." in messages(lines)
    )
    assert '"s"' not in json.dumps(lines)


def test_the_log_names_the_tokens_that_are_accepted_by_their_fingerprints(tmp_path: Path) -> None:
    lines, _ = started(configuration(tmp_path, '[auth]\ntokens = ["new horse", "old horse"]\n'))
    [line] = [line for line in lines if "tokens" in line]
    assert line["msg"] == "tokens that open this node, by their fingerprints"
    assert line["tokens"] == ", ".join(fingerprints([b"new horse", b"old horse"]))
    assert "horse" not in json.dumps(lines)


def test_the_pid_file_holds_the_bare_number(tmp_path: Path) -> None:
    pid_file = tmp_path / "gitaly.pid"
    lines, _ = started(
        configuration(tmp_path), env={**os.environ, "GITALY_PID_FILE": str(pid_file)}
    )
    assert pid_file.read_text() == str(lines[0]["pid"])


def fake_git(directory: Path, script: str) -> Path:
    path = directory / "git"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(stat.S_IRWXU)
    return path


def test_a_git_that_is_too_old_stops_the_start(tmp_path: Path) -> None:
    old = fake_git(tmp_path, "echo git version 2.30.2")
    done = gitaly("serve", configuration(tmp_path, f'[git]\nbin_path = "{old}"\n'))
    assert done.returncode == 1
    (line,) = [json.loads(text) for text in done.stdout.splitlines()][-1:]
    assert line["msg"] == "unclean Gitaly shutdown"
    assert line["error"] == f"git 2.30.2 at {old} is too old: 2.39 or newer is needed"


def test_no_git_at_all_stops_the_start(tmp_path: Path) -> None:
    done = gitaly("serve", configuration(tmp_path), env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "no git found on PATH: install git or set git.bin_path" in done.stdout


def test_check_says_line_by_line_that_all_is_well(tmp_path: Path) -> None:
    done = gitaly("check", configuration(tmp_path))
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0] == "Checking configuration: OK"
    assert lines[1].startswith("Checking git: OK (2.")
    assert lines[2].startswith("Checking runtime directory: OK (")
    assert lines[3] == "Checking hook program: OK"
    assert lines[4].startswith(f'Checking storage "default": OK ({tmp_path}/storage, ')
    assert lines[5].startswith("standalone mode: ")
    assert lines[-1] == "OK"
    assert list((tmp_path / "storage").iterdir()) == []


def test_check_names_what_fails(tmp_path: Path) -> None:
    old = fake_git(tmp_path, "exit 1")
    done = gitaly("check", configuration(tmp_path, f'[git]\nbin_path = "{old}"\n'))
    assert done.returncode == 1
    assert "Checking git: FAILED" in done.stdout
    assert f"cannot run git at {old} (git.bin_path)" in done.stderr


def test_validate_reads_standard_input_and_answers_as_json() -> None:
    done = gitaly("configuration", "validate", input='[[git.config]]\nkey = "bad"\nvalue = "x"\n')
    assert done.returncode == 2
    found = json.loads(done.stdout)["errors"]
    assert {
        "key": ["git", "config", "key"],
        "message": 'key "bad" must contain at least one section',
    } in found


def last_error(done: "subprocess.CompletedProcess[str]") -> str:
    """What the log of a failed start ends with; nothing else may be said of it."""
    assert (done.returncode, done.stderr) == (1, "")
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["msg"] == "unclean Gitaly shutdown"
    return str(line["error"])


def test_a_pid_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "none" / "pid"
    env = {**os.environ, "GITALY_PID_FILE": str(path)}
    done = gitaly("serve", configuration(tmp_path), env=env)
    assert last_error(done) == f"GITALY_PID_FILE: {path}: No such file or directory"
    assert list((tmp_path / "run").iterdir()) == []
    assert not (tmp_path / "g.sock").exists()


def test_a_log_pattern_that_is_no_pattern_stops_the_start(tmp_path: Path) -> None:
    env = {**os.environ, "GITALY_LOG_REQUEST_METHOD_DENY_PATTERN": "("}
    error = last_error(gitaly("serve", configuration(tmp_path), env=env))
    assert error.startswith('GITALY_LOG_REQUEST_METHOD_DENY_PATTERN: "(": ')


def tls(directory: Path, key: str, passphrase: str) -> str:
    """The configuration of a TLS listener whose key may be encrypted; made by openssl."""
    certificate = directory / "cert.pem"
    name = ["-subj", "/CN=localhost", "-days", "2"]
    out = ["-keyout", str(directory / key), "-out", str(certificate)]
    secret = ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *name, *out, *secret]
    subprocess.run(make, check=True, capture_output=True)
    return (
        f'tls_listen_addr = "127.0.0.1:0"\n[tls]\ncertificate_path = "{certificate}"\n'
        f'key_path = "{directory}/{key}"\n'
    )


def test_an_encrypted_key_stops_the_start_without_a_question(tmp_path: Path) -> None:
    done = gitaly("serve", configuration(tmp_path, tls(tmp_path, "key.pem", "secret")))
    assert last_error(done) == "load certificate: the key is encrypted: only plain keys are read"


def test_a_certificate_that_is_none_stops_the_start_and_is_named(tmp_path: Path) -> None:
    config = configuration(tmp_path, tls(tmp_path, "key.pem", ""))
    (tmp_path / "cert.pem").write_text("no certificate")
    error = last_error(gitaly("serve", config))
    files = f"{tmp_path}/cert.pem, {tmp_path}/key.pem"
    assert error == f"load certificate: {files}: not a certificate and a key in PEM"


def test_the_version_is_the_contracts() -> None:
    assert gitaly("--version").stdout == "Gitaly, version 18.9.0\n"
