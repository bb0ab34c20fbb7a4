"""The status page in a real browser, while a node is at work."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from prometheus_client import CollectorRegistry

from gitaly.observe.pages import status_pages
from gitaly.observe.serving import Server
from gitaly.observe.snapshot import Snapshot
from tests.e2e.browser import CHROMIUM, Browser
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import ZERO, Conversation, stalled_fetch
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import NodeProcess
from tests.e2e.small_png import small_png
from tests.observe.example import EXAMPLE

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "status.png"
MOST_PICTURE_BYTES = 150_000
SHOWN = "document.body && document.body.dataset.shown === 'yes'"
WATCH = "/grpc.health.v1.Health/Watch"
# Each would run, if any text became markup, attribute or address.
HOSTILE = (
    "<img src=x onerror=window.owned=1>.git",
    "<script>window.owned=1<",
    "\"><svg onload=window.owned=1>'",
    "javascript:window.owned=1",
    "</td></table><iframe srcdoc='<script>parent.owned=1<",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("b")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """With an empty window, in whose console nobody may have complained at the end."""
    chromium.show(1200, 900)
    yield chromium
    chromium.open("about:blank")
    complaints, chromium.complaints = chromium.complaints, []
    assert complaints == []


@pytest.fixture(scope="module")
def page() -> MetricsPage:
    return MetricsPage()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, page: MetricsPage) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path_factory.mktemp("n"), top=page.configuration)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def url(page: MetricsPage) -> str:
    return f"http://127.0.0.1:{page.port}/status"


def test_the_page_shows_a_clone_while_it_runs_and_that_it_is_over(
    watched: NodeProcess, browser: Browser, url: str, big: Path, name: str
) -> None:
    make_bare(watched, name, source=big)
    browser.open(url)
    browser.until(SHOWN)
    assert "Calls in flight: 0" in browser.text()
    with stalled_fetch(Way(node=watched, repository=name)):
        browser.until_text(f"default/{name}")  # it renews itself
        text = browser.text()
    assert "SSHUploadPackWithSidechannel" in text
    assert "git upload-pack" in text
    assert "git-remote-gitaly" in text
    assert "healthy" in text
    browser.until_text("Calls in flight: 0")


def test_hostile_names_are_text_and_nothing_else(
    watched: NodeProcess, browser: Browser, url: str
) -> None:
    with ExitStack() as calls:
        for hostile in HOSTILE:
            calls.enter_context(in_flight(watched, hostile))
        browser.open(url)
        for hostile in HOSTILE:
            browser.until_text(hostile)
        assert browser.value("window.owned") is None
        assert browser.value("document.querySelectorAll('img, svg, iframe, object').length") == 0
        assert browser.value("document.scripts.length") == 1


@contextmanager
def in_flight(node: NodeProcess, name: str) -> Iterator[None]:
    """A call of a client and a user with this name."""
    request = health_pb2.HealthCheckRequest().SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{node.tcp}") as channel:
        watch: Any = channel.unary_stream(WATCH)  # bytes in, bytes out: untyped by its stubs
        call = watch(request, metadata=[("client_name", name), ("username", name)])
        next(call)
        yield
        call.cancel()


def test_a_repository_and_a_branch_with_hostile_names_are_text(
    watched: NodeProcess, browser: Browser, url: str, work: Path
) -> None:
    repository, branch = HOSTILE[0], "<img/src=x/onerror=window.owned=1>"
    bare = make_bare(watched, repository, source=work)
    (bare / "packed-refs").unlink(missing_ok=True)
    with in_flight(watched, branch):
        way = Way(node=watched, program="ssh", repository=repository, version=0)
        with stalled_push(way, branch):
            browser.open(url)
            browser.until(SHOWN)
            browser.until_text("SSHReceivePack")
            assert f"default/{repository}" in browser.text()
            assert browser.value("window.owned") is None


@contextmanager
def stalled_push(way: Way, branch: str) -> Iterator[None]:

    with Conversation(way, "receive-pack") as talk:
        talk.hear_refs()
        command = f"{ZERO} {'1' * 40} refs/heads/{branch}\0report-status".encode()
        talk.say(b"%04x%s" % (len(command) + 4, command))
        yield


@contextmanager
def showing(browser: Browser, snapshot: Snapshot) -> Iterator[Server]:
    """The page with this content."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = Server(listening, status_pages(lambda: snapshot), CollectorRegistry())
    try:
        browser.open(f"http://127.0.0.1:{port}/status")
        browser.until(SHOWN)
        yield server
    finally:
        browser.open("about:blank")  # it would ask again, and complain
        server.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_the_documents_shows_everything(browser: Browser, scheme: str) -> None:
    with showing(browser, EXAMPLE):
        browser.show(1200, 1500, scheme=scheme)
        text = browser.text()
        height = browser.value("document.documentElement.scrollHeight")
        browser.show(1200, height, scheme=scheme)
        picture = browser.screenshot()
        background = browser.value("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(15, 18, 22)"}[scheme]
    for part in (
        "something is wrong",
        'storage "archive" (/mnt/archive): the file system is mounted read-only',
        "queued: perRPC/gitaly.SSHService/SSHUploadPackWithSidechannel",
        "acme/monorepo",
        "7.7 GiB of 8.0 GiB",
        "38 packs, 61.0 GiB of 100 GiB",
        "permission denied: token has expired",
        "authentication: enforced",
        "certificate of 0.0.0.0:9999: gitaly1.internal, expires in 89 days",
        "last reload 11:00:00 PM: auth.tokens, tls.certificate_path",
    ):
        assert part in text, text
    assert picture.startswith(b"\x89PNG")
    if os.environ.get("GITALY_WRITE_PICTURES") and scheme == "light":
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(small_png(picture))


def test_a_phone_needs_no_second_hand(browser: Browser) -> None:
    """Nothing is wider than the screen."""
    with showing(browser, EXAMPLE):
        browser.show(390, 844, scheme="dark")
        assert browser.value("document.documentElement.scrollWidth") <= 390
        widest = "Math.max(...[...document.querySelectorAll('section')].map(s => s.scrollWidth))"
        assert browser.value(widest) <= 390


def test_calls_are_sorted_by_what_was_clicked(browser: Browser) -> None:
    first = "document.querySelector('#calls tbody td').innerText.split('\\n')[0]"
    with showing(browser, EXAMPLE):
        assert browser.value(first) == "SSHUploadPackWithSidechannel"
        buttons = "[...document.querySelectorAll('#calls th button')]"
        browser.value(f"{buttons}.find(button => button.innerText == 'CPU').click()")
        assert browser.value(first) == "PackObjectsHookWithSidechannel"


def test_a_node_that_has_ended_is_said_and_the_last_state_stays(browser: Browser) -> None:
    with showing(browser, EXAMPLE) as server:
        server.close()
        browser.until_text("The node does not answer since")
        assert "acme/monorepo" in browser.text()
    browser.open("about:blank")  # which asks nobody
    browser.complaints.clear()  # the browser itself complains of a connection that is refused


def test_the_picture_in_the_documents_is_small_and_there() -> None:
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert PICTURE.stat().st_size < MOST_PICTURE_BYTES
