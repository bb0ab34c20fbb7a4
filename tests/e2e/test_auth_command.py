"""`gitaly auth test`, as an operator types it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitaly.token import fingerprints
from tests.e2e.node_process import BIN, NodeProcess
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import a_node

NEW, OLD, OTHER = fingerprints([b"new horse", b"old horse", b"a stranger"])
LATER = (
    "import sys, time, types\n"
    "from gitaly.cli.main import main\n"
    "from gitaly.client import auth_probe\n"  # alone: grpc counts its deadlines by the same clock
    "later = float(sys.argv.pop(1))\n"
    "clock = lambda: time.time() + later\n"
    "auth_probe.time = types.SimpleNamespace(time=clock, monotonic=time.monotonic)\n"
    "main()\n"
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[NodeProcess]:
    extra = '[auth]\ntokens = ["new horse", "old horse"]\n'
    node = NodeProcess(tmp_path_factory.mktemp("n"), extra=extra, certificate=certificate)
    node.start()
    yield node
    node.stop()


def auth_test(
    *arguments: object, token: str = "", env: Mapping[str, str] | None = None, later: float = 0
) -> "subprocess.CompletedProcess[str]":
    """Run it; `later`: with a clock that is ahead by so many seconds."""
    program = [BIN / "gitaly"] if not later else [sys.executable, "-c", LATER, str(later)]
    given = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(env or {})}
    return subprocess.run(
        [*program, "auth", "test", *map(str, arguments)],
        env=given | ({"GITALY_TOKEN": token} if token else {}),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """What it prints, with the measured times taken out."""
    assert done.stderr == ""
    return re.sub(r"\d+\.\d{3} s (ahead of|behind)", "N s beside", done.stdout).splitlines()


def test_a_token_that_is_accepted(strict: NodeProcess) -> None:
    done = auth_test(f"tcp://127.0.0.1:{strict.tcp}", token="old horse")
    assert done.returncode == 0
    *said, clock = lines(done)
    assert said == [
        f"Address: tcp 127.0.0.1:{strict.tcp}",
        "Authentication: enforced",
        f"Token {OLD} (GITALY_TOKEN): accepted",
    ]
    assert re.fullmatch(r"Clock: N s beside the node's \(±\d\.\d{3} s\)", clock)


def test_a_token_that_is_refused(strict: NodeProcess) -> None:
    done = auth_test(f"unix:{strict.socket}", token="a stranger")
    assert done.returncode == 1
    assert lines(done)[1:3] == [
        "Authentication: enforced",
        f"Token {OTHER} (GITALY_TOKEN): REFUSED: wrong secret",
    ]


def test_no_token(strict: NodeProcess) -> None:
    done = auth_test(f"unix:{strict.socket}")
    assert done.returncode == 1
    assert lines(done)[2] == "No token: REFUSED: no token"


def test_a_token_of_a_file_comes_before_that_of_the_environment(
    strict: NodeProcess, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("new horse\n")
    done = auth_test(
        f"unix:{strict.socket}", "--token-file", tmp_path / "token", token="a stranger"
    )
    assert done.returncode == 0
    assert lines(done)[2] == f"Token {NEW} ({tmp_path}/token): accepted"


def test_a_configuration_has_the_address_and_all_tokens(
    strict: NodeProcess, tmp_path: Path
) -> None:
    config = strict.directory / "config.toml"
    done = auth_test("--config", config)
    assert done.returncode == 0
    assert lines(done)[:4] == [
        f"Address: unix {strict.socket}",
        "Authentication: enforced",
        f"Token {NEW} ({config}): accepted",
        f"Token {OLD} ({config}): accepted",
    ]


def test_a_file_that_the_node_has_not_read_yet_shows_itself(
    strict: NodeProcess, tmp_path: Path
) -> None:
    edited = tmp_path / "config.toml"
    text = (strict.directory / "config.toml").read_text()
    edited.write_text(text.replace('"new horse"', '"a stranger", "new horse"'))
    done = auth_test("--config", edited)
    assert done.returncode == 1
    assert lines(done)[2:5] == [
        f"Token {OTHER} ({edited}): REFUSED: wrong secret",
        f"Token {NEW} ({edited}): accepted",
        f"Token {OLD} ({edited}): accepted",
    ]


def test_a_certificate_is_judged_with_its_end(strict: NodeProcess, certificate: Path) -> None:
    address = f"tls://127.0.0.1:{strict.tls}"
    done = auth_test(address, token="new horse", env={"SSL_CERT_FILE": str(certificate)})
    assert done.returncode == 0
    assert re.fullmatch(
        r"TLS: OK \(TLSv1\.3, its certificate is good for 2 days, until \d{4}-.* UTC\)",
        lines(done)[1],
    )


def test_no_token_is_sent_to_who_is_not_trusted(strict: NodeProcess) -> None:
    before = strict.log()
    done = auth_test(
        f"tls://127.0.0.1:{strict.tls}", token="new horse", env={"SSL_CERT_FILE": "/dev/null"}
    )
    assert done.returncode == 4
    tls, answer = lines(done)[1:]
    assert tls.startswith("TLS: NOT TRUSTED: self-signed certificate (TLSv1.3, its certificate is")
    assert answer == "Answer: FAILED (not trusted: self-signed certificate; no token was sent)"
    assert "ServerInfo" not in strict.log()[len(before) :]


@pytest.mark.parametrize(
    ("later", "reason", "side"),
    [(3600.0, "from the future", "ahead of"), (-3600.0, "expired", "behind")],
)
def test_clocks_that_differ_are_measured(
    strict: NodeProcess, later: float, reason: str, side: str
) -> None:
    done = auth_test(f"unix:{strict.socket}", token="new horse", later=later)
    assert done.returncode == 1
    assert lines(done)[2] == f"Token {NEW} (GITALY_TOKEN): REFUSED: {reason}"
    measured = re.search(r"Clock: (\d+)\.\d{3} s (.*) the node's", done.stdout)
    assert measured is not None
    assert (3590 < int(measured[1]) < 3610, measured[2]) == (True, side)


def test_as_json(strict: NodeProcess, certificate: Path) -> None:
    address = f"tls://127.0.0.1:{strict.tls}"
    env = {"SSL_CERT_FILE": str(certificate)}
    done = auth_test(address, "--json", token="old horse", env=env, later=-0.5)
    answer: dict[str, Any] = json.loads(done.stdout)
    end = datetime.fromisoformat(answer["tls"].pop("not_after"))
    assert 1 < (end - datetime.now(UTC)).total_seconds() / 86400 <= 2
    assert abs(answer.pop("clock_skew_seconds") + 0.5) <= answer.pop("clock_skew_error_seconds")
    assert answer == {
        "address": f"tcp 127.0.0.1:{strict.tls}",
        "error": "",
        "tls": {"trusted": True, "reason": "", "protocol": "TLSv1.3"},
        "authentication": "enforced",
        "source": "GITALY_TOKEN",
        "tokens": [{"token": OLD, "accepted": True, "reason": ""}],
        "exit_code": 0,
    }
    assert "horse" not in done.stdout


async def test_while_transitioning_it_says_what_will_be(tmp_path: Path) -> None:
    extra = 'auth.tokens = ["new horse"]\nauth.transitioning = true'
    async with a_node(tmp_path, extra=extra) as served:
        good = await asyncio.to_thread(auth_test, served.address("unix"), token="new horse")
        wrong = await asyncio.to_thread(auth_test, served.address("unix"), token="old horse")
    assert (good.returncode, wrong.returncode) == (0, 1)
    assert lines(good)[1:3] == [
        "Authentication: transitioning: everybody is let in for now",
        f"Token {NEW} (GITALY_TOKEN): will be accepted",
    ]
    assert lines(wrong)[2] == f"Token {OLD} (GITALY_TOKEN): WILL BE REFUSED: wrong secret"


async def test_a_node_without_tokens_proves_nothing(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        done = await asyncio.to_thread(auth_test, served.address("unix"), token="new horse")
        without = await asyncio.to_thread(auth_test, served.address("unix"))
    assert (done.returncode, without.returncode) == (3, 3)
    assert lines(done)[1:3] == [
        "Authentication: off: everybody is let in",
        f"Token {NEW} (GITALY_TOKEN): let in, as everybody is",
    ]
    assert lines(without)[2] == "No token: let in, as everybody is"


def test_nobody_is_there(tmp_path: Path) -> None:
    done = auth_test(f"unix:{tmp_path}/none", token="new horse")
    assert done.returncode == 4
    assert lines(done) == [
        f"Address: unix {tmp_path}/none",
        f"Answer: FAILED (dial unix {tmp_path}/none: no such file or directory)",
    ]


def test_tls_with_the_port_of_those_without_is_said_to_be_that(strict: NodeProcess) -> None:
    done = auth_test(f"tls://127.0.0.1:{strict.tcp}", token="new horse")
    assert done.returncode == 4
    why = "wrong version number: no TLS is spoken there; is it the port of listen_addr?"
    assert lines(done)[1:] == [f"Answer: FAILED (TLS: {why})"]
    url = f"gitaly+tls://127.0.0.1:{strict.tcp}/default/a.git"
    path = f"{BIN}:{os.environ['PATH']}"
    asked = subprocess.run(
        ["git", "ls-remote", url], env={"PATH": path}, check=False, capture_output=True, text=True
    )
    assert asked.stderr == f"fatal: {url}: dial tcp 127.0.0.1:{strict.tcp}: {why}\n"


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_somebody_else_is_there(scheme: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def answer() -> None:
            with suppress(OSError):  # nobody comes any more
                while True:
                    with listening.accept()[0] as accepted:
                        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        accepted.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        done = auth_test(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", token="new horse")
        assert done.returncode == 4
        assert "Answer: FAILED (" in done.stdout
        assert done.stderr == ""
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("scheme", ["tcp", "tls", "unix"])
def test_a_node_that_hangs_is_not_waited_for_and_told_from_one_that_is_not_there(
    stopped: NodeProcess, scheme: str
) -> None:
    done = auth_test(
        {
            "tcp": f"tcp://127.0.0.1:{stopped.tcp}",
            "tls": f"tls://127.0.0.1:{stopped.tls}",
            "unix": f"unix:{stopped.socket}",
        }[scheme],
        "--timeout",
        0.5,
        token="new horse",
    )
    assert done.returncode == 4
    assert lines(done)[1:] == [
        "Answer: FAILED (connected, and no answer within 0.5 seconds: the node hangs or has too"
        " much to do, or something else listens there; on its machine, ask `gitaly status CONFIG`)"
    ]


@pytest.fixture
def stopped(strict: NodeProcess) -> Iterator[NodeProcess]:
    os.kill(strict.pid, signal.SIGSTOP)
    yield strict
    os.kill(strict.pid, signal.SIGCONT)


def test_a_node_whose_queue_is_full_is_not_waited_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(f"{tmp_path}/s")
        listening.listen(0)
        before = stack.enter_context(socket.socket(socket.AF_UNIX))
        before.connect(f"{tmp_path}/s")
        done = auth_test(f"unix:{tmp_path}/s", "--timeout", 0.5, token="new horse")
    assert done.returncode == 4
    assert lines(done)[1:] == [
        "Answer: FAILED (no connection within 0.5 seconds: the node hangs, and so many wait"
        " already that nobody may join them; on its machine, ask `gitaly status CONFIG`)"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "gitaly auth test: ADDRESS or --config is needed\n"),
        (["http://x"], 'gitaly auth test: unknown scheme: "http://x"\n'),
        (["tcp://127.0.0.1"], "host and port are needed\n"),
        (["unix:/s", "--token-file", "/none"], "No such file or directory: '/none'\n"),
        (["--config", "/none"], "gitaly auth test: open /none: no such file or directory\n"),
    ],
)
def test_a_question_that_makes_no_sense(arguments: list[str], said: str) -> None:
    done = auth_test(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(said)
