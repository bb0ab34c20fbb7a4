"""Pages for people: clients that misbehave, and sockets that are nobody else's business."""

import http.client
import os
import socket
import stat
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.observe.hosts import KnownHosts
from gitaly.observe.pages import content_policy, status_pages
from gitaly.observe.serving import Answer, Pages, Server, status_socket
from gitaly.observe.snapshot import NodeState, Snapshot, from_json
from tests.e2e.node_process import wait_until

HUGE = Answer(kind="text/plain", body=b"x" * (64 << 20))  # more than any buffer of a connection
PAGES: Pages = {"/huge": lambda: HUGE, "/small": lambda: Answer(kind="text/plain", body=b"small")}


@contextmanager
def serving(pages: Pages = PAGES, **options: float | KnownHosts) -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    server = Server(listening, pages, CollectorRegistry(), **options)  # type: ignore[arg-type]  # of its own
    try:
        yield port
    finally:
        server.close()
    assert http_threads() == []


def http_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "http"]


def asked(port: int, path: str) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), timeout=20)
    connected.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return connected


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_a_client_that_stops_reading_keeps_nobody_waiting_and_is_dropped() -> None:
    with serving(client_seconds=0.2) as port, asked(port, "/huge") as stalled:
        assert stalled.recv(1) == b"H"
        assert get(port, "/small") == (200, b"small")
        wait_until(lambda: len(http_threads()) == 1, "nobody to serve it any more")
        received = sum(map(len, iter(lambda: stalled.recv(1 << 20), b"")))
    assert received < len(HUGE.body)


def test_a_client_that_never_asks_is_dropped() -> None:
    with (
        serving(client_seconds=0.05) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as silent,
    ):
        assert silent.recv(1) == b""


def test_a_client_that_asks_letter_by_letter_is_dropped_when_its_time_is_over() -> None:
    with (
        serving(client_seconds=1) as port,
        socket.create_connection(("127.0.0.1", port), timeout=0.02) as slow,
    ):
        slow.sendall(b"GET /small HTTP/1.0\r\n")
        wait_until(lambda: is_dropped(slow), "the end of its patience")


def is_dropped(slow: socket.socket) -> bool:
    """Whether one who says one letter more hears the end."""
    try:
        slow.send(b"x")
        return slow.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_who_comes_when_too_many_are_there_is_told_so() -> None:
    with serving(most_clients=1) as port:
        with asked(port, "/huge") as first:
            assert first.recv(1) == b"H"
            assert is_turned_away(port)
        wait_until(lambda: not is_turned_away(port), "the first one to be gone")


def is_turned_away(port: int) -> bool:
    """Told to come later; what it had said is not read, so the connection may break first."""
    try:
        answer = get(port, "/small")
    except ConnectionError:
        return True
    assert answer in ((200, b"small"), (503, b""))
    return answer[0] == 503


def test_who_has_asked_before_the_end_is_answered() -> None:
    asked_for, go_on = threading.Event(), threading.Event()

    def page() -> Answer:
        asked_for.set()
        assert go_on.wait(20)
        return Answer(kind="text/plain", body=b"small")

    listening = socket.create_server(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    server = Server(listening, {"/slow": page}, None)
    with asked(port, "/slow") as client:
        assert asked_for.wait(20)
        ending = threading.Thread(target=server.close)
        ending.start()
        wait_until(lambda: listening.fileno() < 0, "the end to have begun")
        go_on.set()
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    ending.join()
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"small")
    assert http_threads() == []


def test_an_end_does_not_wait_for_clients_that_do_not_read() -> None:
    with serving() as port:
        stalled = asked(port, "/huge")
        assert stalled.recv(1) == b"H"
    stalled.close()


def test_a_second_end_touches_nothing_of_others() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(listening, PAGES, CollectorRegistry())
    server.close()
    others = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(8)]  # they get the free numbers
    server.close()
    for other in others:
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
        os.close(other)


def test_heads_of_pages_have_no_body_and_metrics_have_none() -> None:
    with serving() as port:
        assert get(port, "/small", "HEAD") == (200, b"")
        assert get(port, "/metrics", "HEAD")[0] == 405
        assert get(port, "/small", "POST")[0] == 501
        assert get(port, "/small", "DELETE")[0] == 501


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "192.0.2.7:9236",
        "[::1]:9236",
        "[2001:db8::1]",
        "localhost:9236",
        "LOCALHOST.",
        "gitaly1.internal:9236",
        "Gitaly1.Internal",
    ],
)
def test_a_page_is_shown_under_addresses_and_names_of_the_node(host: str) -> None:
    with serving(hosts=KnownHosts(["gitaly1.internal"])) as port:
        assert under(host, port, "/small") == (200, b"small")


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example:9236",
        "gitaly1.internal.rebound.example",
        "127.0.0.1.rebound.example",
        "localhost.rebound.example",
        "[rebound.example]:9236",
        "gitaly1",
        "",
        ":9236",
        "127.0.0.1, rebound.example",
    ],
)
def test_a_page_is_not_shown_under_a_name_of_somebody_else(host: str) -> None:
    with serving(hosts=KnownHosts(["gitaly1.internal"])) as port:
        status, said = under(host, port, "/small")
        assert status == 403
        assert b"prometheus.status_page_hosts" in said
        assert b"gitaly1" not in said  # the stranger can read this


def test_prometheus_may_ask_under_any_name() -> None:
    with serving(hosts=KnownHosts([])) as port:
        status, page = under("whatever.example", port, "/metrics")
    assert (status, page) == (200, b"")  # an empty registry


def test_who_names_no_host_is_no_browser() -> None:
    with serving(hosts=KnownHosts([])) as port, asked(port, "/small") as connected:
        assert b"".join(iter(lambda: connected.recv(65536), b"")).endswith(b"small")


def under(host: str, port: int, path: str) -> tuple[int, bytes]:
    """What a client is told that calls the server so."""
    talk = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(talk):
        talk.request("GET", path, headers={"Host": host})
        answer = talk.getresponse()
        return answer.status, answer.read()


def test_a_query_does_not_change_the_page() -> None:
    with serving() as port:
        assert get(port, "/small?x=1")[1] == b"small"


def test_the_page_may_run_its_own_script_only_and_is_kept_nowhere() -> None:
    with (
        serving(status_pages(Snapshot)) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=20) as answer,
    ):
        html, headers = answer.read().decode(), answer.headers
    policy = headers["Content-Security-Policy"]
    assert policy == content_policy(html)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"


def test_the_page_is_one_file_and_makes_no_markup_of_data() -> None:
    page = status_pages(Snapshot)["/status"]().body.decode()
    for outside in ("http:", "https:", "src=", "@import", "url("):
        assert outside not in page
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in page


def test_the_status_socket_is_for_the_nodes_user_alone_and_has_no_other_page(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "status")
    pages = {
        name: page
        for name, page in status_pages(lambda: Snapshot(node=NodeState(pid=7))).items()
        if name == "/status.json"
    }
    with status_socket(path, pages):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert b"404" in over(path, "/metrics").partition(b"\r\n")[0]
        head, _, body = over(path, "/status.json").partition(b"\r\n\r\n")
        assert b"200 OK" in head
        assert from_json(body).node.pid == 7
    assert not os.path.exists(path)


def over(path: str, page: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(path)
        connected.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: connected.recv(65536), b""))


def test_a_status_socket_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."), status_socket(str(tmp_path / "no" / "status"), {}):
        pass
