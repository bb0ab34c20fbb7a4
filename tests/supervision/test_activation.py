"""Sockets that systemd has opened for the node: systemd.socket(5), sd_listen_fds(3)."""

import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gitaly.supervision.inherited import BadInheritance, Inheritance, Inherited
from tests.e2e.clients import Way, run_git
from tests.e2e.node_process import free_port, wait_until
from tests.faults.nodes import ask_health
from tests.supervision.service import Service

ACTIVATE = shutil.which("systemd-socket-activate")


@pytest.fixture
def systemd() -> Iterator[Callable[[str], socket.socket]]:
    """Listens as systemd does; it goes on when the node has ended."""
    with ExitStack() as stack:

        def listen(address: str) -> socket.socket:
            is_path = address.startswith("/")
            family = socket.AF_UNIX if is_path else socket.AF_INET
            made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            host, _, port = address.rpartition(":")
            made.bind(address if is_path else (host, int(port)))
            made.listen(64)
            return made

        yield listen


def test_every_kind_of_listener_is_taken_over_and_left_to_systemd_at_the_end(
    service: Callable[..., Service], systemd: Callable[[str], socket.socket], certificate: Path
) -> None:
    metrics = free_port()
    node = service(top=f'prometheus_listen_addr = "127.0.0.1:{metrics}"\n', certificate=certificate)
    ports = (node.tls, node.tcp, metrics)
    passed = [systemd(str(node.socket)), *(systemd(f"127.0.0.1:{port}") for port in ports)]
    node.passed, node.names = passed, "gitaly.socket:gitaly.socket:gitaly.socket:metrics"
    path = os.stat(node.socket)
    node.start()
    run_git("init", "--quiet", "--bare", str(node.storage / "r.git"))
    for listener in ("unix", "tcp", "tls"):
        way = Way(node=node, repository="r.git", listener=listener)
        assert way.git("ls-remote", way.url) == ""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as page:
        text = page.read().decode()
    # One of them each is the node's own, which asks whether it is ready.
    for kind in ("unix", "tcp", "tls"):
        assert f'gitaly_connections_total{{type="{kind}"}} 2.0' in text
    node_stopped(node)
    assert os.path.samestat(path, os.stat(node.socket))
    with socket.create_connection(("127.0.0.1", node.tcp)):
        pass  # it waits for the next process: systemd refuses nobody


def node_stopped(node: Service) -> None:
    node.stop()
    for listening in node.passed:
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_who_has_come_before_the_node_is_served(
    service: Callable[..., Service], systemd: Callable[[str], socket.socket]
) -> None:
    node = service()
    node.passed = [systemd(f"127.0.0.1:{node.tcp}")]
    early = subprocess.Popen(
        ["git", "ls-remote", Way(node=node, repository="r.git").url],
        env=Way(node=node).environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    run_git("init", "--quiet", "--bare", str(node.storage / "r.git"))
    node.start()
    out, err = early.communicate(timeout=60)
    assert (early.returncode, out, err) == (0, b"", b"")
    node.stop()


def test_what_is_not_passed_the_node_opens_itself(
    service: Callable[..., Service], systemd: Callable[[str], socket.socket]
) -> None:
    node = service()
    node.passed = [systemd(str(node.socket))]
    node.start()
    assert ask_health(f"127.0.0.1:{node.tcp}")
    assert ask_health(f"unix:{node.socket}")
    node.stop()


def test_a_socket_that_no_listener_wants_stops_the_start_and_both_sides_are_named(
    service: Callable[..., Service], systemd: Callable[[str], socket.socket]
) -> None:
    node, other = service(), free_port()
    node.passed, node.names = [systemd(f"127.0.0.1:{other}")], "gitaly.socket"
    assert node.launch().wait(30) == 1
    assert node.lines()[-1]["error"] == (
        "systemd passes sockets that no listener is configured for:"
        f' 127.0.0.1:{other} ("gitaly.socket"); the configuration has'
        f' socket_path = "{node.socket}", listen_addr = "127.0.0.1:{node.tcp}"'
    )


def test_a_name_that_contradicts_the_address_stops_the_start(
    service: Callable[..., Service], systemd: Callable[[str], socket.socket]
) -> None:
    node, other = service(), free_port()
    node.passed, node.names = [systemd(f"127.0.0.1:{other}")], "tcp"
    assert node.launch().wait(30) == 1
    assert node.lines()[-1]["error"] == (
        f"systemd passes 127.0.0.1:{other} as FileDescriptorName=tcp, but the configuration has"
        f' listen_addr = "127.0.0.1:{node.tcp}": make both the same'
    )


def test_what_does_not_listen_is_refused(service: Callable[..., Service]) -> None:
    with socket.socket() as connected:
        node = service(passed=[connected], names="tcp")
        assert node.launch().wait(30) == 1
    assert node.log() == (
        'failed to start Gitaly: descriptor 3 ("tcp"), which systemd passes,'
        " does not listen: say Accept=no in the socket unit\n"
    )


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed")
def test_systemds_own_tool_is_understood(service: Callable[..., Service]) -> None:
    node = service()
    arguments = ("-E", "GITALY_PID_FILE", "-E", "PATH", "-l", f"127.0.0.1:{node.tcp}")
    program = [str(ACTIVATE), *arguments, "-l", str(node.socket), *map(str, node.program)]
    node.program = program
    launched = node.launch()
    wait_until(lambda: node.socket.exists(), "systemd to listen")
    assert ask_health(f"127.0.0.1:{node.tcp}")  # the first client starts the node
    node.await_start()
    assert node.pid == launched.pid
    node.stop()
    assert node.socket.exists()


# Which socket belongs to which line of the configuration


@pytest.fixture
def listening() -> Iterator[Callable[..., Inherited]]:
    with ExitStack() as stack:

        def make(host: str = "127.0.0.1", name: str = "") -> Inherited:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            made = stack.enter_context(socket.create_server((host, 0), family=family))
            return Inherited(socket=made, name=name, is_kept=True)

        yield make


@pytest.mark.parametrize(
    ("host", "configured", "fits"),
    [
        ("127.0.0.1", "127.0.0.1:{port}", True),
        ("127.0.0.1", "localhost:{port}", True),
        ("127.0.0.1", "0.0.0.0:{port}", False),
        ("127.0.0.1", ":{port}", False),
        ("127.0.0.1", "127.0.0.1:0", True),
        ("127.0.0.1", "127.0.0.1:1", False),
        ("0.0.0.0", ":{port}", True),
        ("0.0.0.0", "0.0.0.0:{port}", True),
        ("::", ":{port}", True),
        ("::", "[::]:{port}", True),
        ("::", "0.0.0.0:{port}", False),
        ("::1", "[::1]:{port}", True),
    ],
)
def test_an_address_matches_what_the_configuration_means(
    listening: Callable[..., Inherited], host: str, configured: str, fits: bool
) -> None:
    inherited = listening(host)
    port = inherited.socket.getsockname()[1]
    found = Inheritance([inherited]).take("tcp", configured.format(port=port))
    assert (found is inherited) == fits


def test_a_name_decides_where_addresses_do_not(listening: Callable[..., Inherited]) -> None:
    first, second = listening(name="tls_listen_addr"), listening(name="metrics")
    inheritance = Inheritance([first, second])
    assert inheritance.take("tcp", "127.0.0.1:0") is None
    assert inheritance.take("metrics", "127.0.0.1:0") is second
    assert inheritance.take("tls", "127.0.0.1:0") is first
    inheritance.settle()


def test_no_socket_is_taken_twice(listening: Callable[..., Inherited]) -> None:
    inheritance = Inheritance([listening()])
    assert inheritance.take("tcp", "127.0.0.1:0") is not None
    assert inheritance.take("tls", "127.0.0.1:0") is None


def test_what_is_left_over_is_closed(listening: Callable[..., Inherited]) -> None:
    inherited = listening(name="x")
    inheritance = Inheritance([inherited])
    with pytest.raises(BadInheritance, match="the configuration has no listeners"):
        inheritance.settle()
    assert inherited.socket.fileno() == -1
