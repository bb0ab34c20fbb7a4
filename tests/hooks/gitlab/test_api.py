"""What GitLab is asked, byte by byte, and what its answers become."""

import base64
import hashlib
import hmac
import io
import json
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly.hooks.gitlab import (
    Access,
    ApiError,
    BadUrl,
    Caller,
    GitLab,
    GitLabMetrics,
    HttpClient,
    Message,
    Ping,
    RateLimited,
    api_endpoint,
)
from gitaly.observe.log import make_logger
from gitaly.tasks import background
from gitaly.token import gitlab_token
from tests.hooks.gitlab.server import GitLabServer, Reply

CALLER = Caller(correlation_id="corr-1", remote_ip="192.0.2.1", client_context=b"\x00ctx")
PUSH = Ping(
    gl_id="user-123",
    gl_repository="project-1",
    changes=b"0 1 refs/heads/\xff<main>\n",
    push_options=["ci.skip"],
    protocol="ssh",
    project="/srv/it's/a.git",
    relative_path="a.git",
    object_directory="objects/tmp_objdir-incoming-x",
    alternate_object_directories=["objects"],
)


@pytest.fixture
def gitlab() -> Iterator[GitLabServer]:
    with GitLabServer().serving() as server:
        yield server


def client(url: str, log: io.BytesIO | None = None, **options: Any) -> GitLab:
    registry = options.pop("registry", CollectorRegistry())
    root = options.pop("root", "")
    tls = options.pop("tls", None)
    seconds = options.pop("seconds", 10.0)
    return GitLab(
        HttpClient(tls, seconds, pauses=()),
        api_endpoint(url, root),
        secret=options.pop("secret", b" the secret\n"),
        user_agent="gitaly/18.9.0",
        metrics=GitLabMetrics(registry, [0.1, 1.0]),
        logger=make_logger(log or io.BytesIO(), format="json"),
        now=lambda: 1700000000.9,
        **options,
    )


async def test_allowed_is_asked_with_the_members_and_headers_of_the_reference(
    gitlab: GitLabServer,
) -> None:
    api = client(gitlab.url, basic_auth=("someone", "pass word"))
    assert await api.allowed(PUSH, CALLER) == Access(is_allowed=True, message="allowed")
    [call] = gitlab.calls
    assert (call.method, call.path) == ("POST", "/api/v4/internal/allowed")
    assert call.body == {
        "action": "git-receive-pack",
        "gl_repository": "project-1",
        "project": "/srv/its/a.git",
        "changes": "0 1 refs/heads/\ufffd<main>\n",
        "protocol": "ssh",
        "relative_path": "a.git",
        "env": '{"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE":["objects"],'
        '"GIT_OBJECT_DIRECTORY_RELATIVE":"objects/tmp_objdir-incoming-x"}',
        "user_id": "123",
        "push_options": ["ci.skip"],
        "gitaly_client_context_bin": base64.b64encode(b"\x00ctx").decode(),
    }
    assert {name: call.headers.get(name) for name in call.headers} == {
        "Host": f"127.0.0.1:{gitlab.address}",
        "Gitlab-Shell-Api-Request": call.headers["Gitlab-Shell-Api-Request"],
        "X-Request-ID": "corr-1",
        "X-Forwarded-For": "192.0.2.1",
        "Content-Type": "application/json",
        "User-Agent": "gitaly/18.9.0",
        "Authorization": "Basic c29tZW9uZTpwYXNzIHdvcmQ=",
        "Content-Length": str(len(call.raw)),
        "Connection": "close",
    }


async def test_the_token_is_good_for_a_minute_and_signed_with_the_trimmed_secret(
    gitlab: GitLabServer,
) -> None:
    await client(gitlab.url).check(CALLER)
    head, claims, signature = gitlab.calls[0].headers["Gitlab-Shell-Api-Request"].split(".")
    signed = hmac.new(b"the secret", f"{head}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(signed).rstrip(b"=").decode() == signature
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {
        "iss": "gitlab-shell",
        "exp": 1700000060,
        "iat": 1700000000,
    }


async def test_a_push_without_quarantine_says_so_in_env(gitlab: GitLabServer) -> None:
    push = Ping(gl_id="key-7", gl_repository="p", changes=b"x")
    await client(gitlab.url).allowed(push, Caller())
    assert gitlab.calls[0].body == {
        "action": "git-receive-pack",
        "gl_repository": "p",
        "changes": "x",
        "env": '{"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE":null,'
        '"GIT_OBJECT_DIRECTORY_RELATIVE":""}',
        "key_id": "7",
    }
    assert "X-Forwarded-For" not in gitlab.calls[0].headers


@pytest.mark.parametrize(
    ("gl_id", "member"),
    [
        ("user-1", {"user_id": "1"}),
        ("key-12", {"key_id": "12"}),
        ("username-jane-doe", {"username": "jane-doe"}),
    ],
)
async def test_a_user_is_known_by_the_form_of_the_gl_id(
    gitlab: GitLabServer, gl_id: str, member: dict[str, str]
) -> None:
    await client(gitlab.url).allowed(Ping(gl_id=gl_id, gl_repository="p", changes=b"x"), Caller())
    body = gitlab.calls[0].body
    assert {k: v for k, v in body.items() if k in ("user_id", "key_id", "username")} == member


@pytest.mark.parametrize("gl_id", ["user-", "user-x", "key-1x", "key-٣", "nobody", ""])
async def test_a_user_in_no_known_form_is_refused_without_a_request(
    gitlab: GitLabServer, gl_id: str
) -> None:
    with pytest.raises(ApiError, match=r"^setting gl_id: gl_id=.* is invalid$"):
        await client(gitlab.url).allowed(
            Ping(gl_id=gl_id, gl_repository="p", changes=b"x"), Caller()
        )
    assert gitlab.calls == []


async def test_the_end_of_a_push_is_told_with_nulls_where_nothing_is(gitlab: GitLabServer) -> None:
    gitlab.replies["/post_receive"] = Reply(
        body={
            "reference_counter_decreased": True,
            "messages": [{"message": "hello", "type": "basic"}],
        }
    )
    push = Ping(gl_id="user-1", gl_repository="p", changes=b"x\n")
    answer = await client(gitlab.url).post_receive(push, Caller())
    assert answer == (True, [Message(text="hello", kind="basic")])
    assert gitlab.calls[0].body == {
        "changes": "x\n",
        "gitaly_client_context_bin": None,
        "gl_repository": "p",
        "identifier": "user-1",
        "push_options": None,
    }


DENIALS = [
    (Reply(401, {"message": "You are not allowed"}), "You are not allowed"),
    (Reply(401, {}), ""),
    (Reply(403, {"message": "No"}), "No"),
    (Reply(500, {"message": "500 Internal Server Error"}), "500 Internal Server Error"),
    (Reply(502, b"<html>secret detail</html>", "text/html"), "Internal API error (502)"),
    (Reply(500, [1]), "Internal API error (500)"),
    (Reply(201, {}), "gitlab api is not accessible: 201"),
    (
        Reply(200, b"<html>", "text/html"),
        "/allowed endpoint respond with unsupported content type: text/html",
    ),
    (Reply(200, b"{oh"), "decoding response from /allowed endpoint: not JSON"),
    (Reply(200, b"3"), "decoding response from /allowed endpoint: not a JSON object"),
]


@pytest.mark.parametrize(("reply", "text"), DENIALS, ids=[text or "empty" for _, text in DENIALS])
async def test_what_is_not_a_yes_becomes_the_text_that_the_reference_gives_it(
    gitlab: GitLabServer, reply: Reply, text: str
) -> None:
    gitlab.replies["/allowed"] = reply
    with pytest.raises(ApiError) as caught:
        await client(gitlab.url).allowed(PUSH, CALLER)
    assert caught.value.message == text


async def test_a_no_with_status_200_is_a_no(gitlab: GitLabServer) -> None:
    gitlab.replies["/allowed"] = Reply(body={"status": False, "message": "Protected branch"})
    found = await client(gitlab.url).allowed(PUSH, CALLER)
    assert found == Access(is_allowed=False, message="Protected branch")


async def test_a_gitlab_that_is_asked_too_often_is_an_error_of_its_own(
    gitlab: GitLabServer,
) -> None:
    gitlab.replies["/allowed"] = Reply(429, {"message": "slow down"})
    with pytest.raises(RateLimited, match=r"^rate limited$"):
        await client(gitlab.url).allowed(PUSH, CALLER)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/pre_receive", "http post to gitlab api /pre_receive endpoint: sorry"),
        ("/post_receive", "http post to gitlab api /post_receive endpoint: sorry"),
        ("/check", "HTTP GET to GitLab endpoint /check failed: sorry"),
    ],
)
async def test_the_other_calls_name_themselves_when_they_fail(
    gitlab: GitLabServer, name: str, text: str
) -> None:
    gitlab.replies[name] = Reply(500, {"message": "sorry"})
    api = client(gitlab.url)
    asking: dict[str, Callable[[], Awaitable[object]]] = {
        "/pre_receive": partial(api.pre_receive, "p", CALLER),
        "/post_receive": partial(api.post_receive, PUSH, CALLER),
        "/check": partial(api.check, CALLER),
    }
    with pytest.raises(ApiError) as caught:
        await asking[name]()
    assert caught.value.message == text


async def test_an_api_that_nobody_serves_is_unreachable_and_the_log_says_why() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        log = io.BytesIO()
        with pytest.raises(ApiError, match=r"^Internal API unreachable$"):
            await client(f"http://127.0.0.1:{taken.getsockname()[1]}", log).allowed(PUSH, CALLER)
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert line["msg"] == "Internal API unreachable"
    assert (line["method"], line["correlation_id"]) == ("POST", "corr-1")
    assert "Connect call failed" in line["error"]


async def test_an_answer_that_does_not_come_in_time_is_no_answer(gitlab: GitLabServer) -> None:
    gitlab.hold("/allowed")
    with pytest.raises(ApiError, match=r"^Internal API unreachable$"):
        await client(gitlab.url, seconds=0.05).allowed(PUSH, CALLER)


async def test_an_answer_is_logged_and_measured(gitlab: GitLabServer) -> None:
    log, registry = io.BytesIO(), CollectorRegistry()
    await client(gitlab.url, log, registry=registry).pre_receive("p", CALLER)
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert line["msg"] == "Finished HTTP request"
    assert line["url"] == f"{gitlab.url}/api/v4/internal/pre_receive"
    assert (line["status"], line["content_length_bytes"]) == (200, 37)
    name = "gitaly_gitlab_api_latency_seconds_count"
    assert registry.get_sample_value(name, {"endpoint": "pre-receive"}) == 1


async def test_the_api_may_be_on_a_unix_socket_below_a_root(tmp_path: Path) -> None:
    with GitLabServer().serving(tmp_path / "gitlab.sock") as gitlab:
        found = await client(gitlab.url, root="/gitlab/").check(CALLER)
    assert found.gitlab_version == "18.9.0"
    assert found.is_redis_reachable
    assert gitlab.calls[0].path == "/gitlab/api/v4/internal/check"
    assert gitlab.calls[0].headers["Host"] == "unix"


async def test_the_path_of_a_url_counts_and_the_root_does_not(gitlab: GitLabServer) -> None:
    await client(f"{gitlab.url}/gitlab", root="/other").check(CALLER)
    assert gitlab.calls[0].path == "/gitlab/api/v4/internal/check"


@pytest.mark.parametrize("url", ["", "ftp://x", "gitlab.example.com", "http+unix://relative"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        api_endpoint(url)


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (307, "POST")])
async def test_redirections_are_followed_as_browsers_do(
    gitlab: GitLabServer, status: int, method: str
) -> None:
    gitlab.replies["/allowed"] = Reply(status, headers={"Location": "/api/v4/internal/check"})
    found = await client(gitlab.url).allowed(PUSH, CALLER)
    assert not found.is_allowed  # what was said is the answer of /check
    assert [(call.method, call.name) for call in gitlab.calls] == [
        ("POST", "/allowed"),
        (method, "/check"),
    ]


async def test_a_password_does_not_follow_a_redirection_to_another_server(
    gitlab: GitLabServer,
) -> None:
    with GitLabServer().serving() as other:
        location = {"Location": f"{other.url}/api/v4/internal/check"}
        gitlab.replies["/check"] = Reply(302, headers=location)
        await client(gitlab.url, basic_auth=("u", "p")).check(CALLER)
    assert "Authorization" in gitlab.calls[0].headers
    assert "Authorization" not in other.calls[0].headers


async def test_redirections_in_a_circle_end(gitlab: GitLabServer) -> None:
    gitlab.replies["/check"] = Reply(302, headers={"Location": "/api/v4/internal/check"})
    with pytest.raises(ApiError, match="Internal API unreachable"):
        await client(gitlab.url).check(CALLER)
    assert len(gitlab.calls) == 11


async def test_a_server_that_restarts_is_asked_again_before_anything_was_said(
    tmp_path: Path,
) -> None:
    server = GitLabServer()
    endpoint = api_endpoint(f"http+unix://{tmp_path / 'late.sock'}")
    http = HttpClient(None, 20, pauses=(0.0, 0.0, 5.0))
    async with background(http.exchange("GET", endpoint.below("/check"))) as asking:
        with server.serving(tmp_path / "late.sock"):
            assert (await asking).status == 200
    assert server.names == ["/check"]


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[GitLabServer, Path]]:
    cert, key = tmp_path / "gitlab.crt", tmp_path / "gitlab.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=gitlab"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with GitLabServer().serving(tls=context) as server:
        yield server, cert


async def test_tls_trusts_whom_it_is_told_to_trust(tls_server: tuple[GitLabServer, Path]) -> None:
    server, cert = tls_server
    tls = ssl.create_default_context(cafile=str(cert))
    url = f"https://127.0.0.1:{server.address}"
    assert (await client(url, tls=tls).check(CALLER)).api_version == "v4"
    with pytest.raises(ApiError, match="Internal API unreachable"):
        await client(url, tls=ssl.create_default_context()).check(CALLER)


def test_openssl_signs_a_token_as_we_do() -> None:
    head, claims, signature = gitlab_token(b"k", 1).split(".")
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "k", "-binary"],
        input=f"{head}.{claims}".encode(),
        capture_output=True,
        check=True,
    )
    assert base64.urlsafe_b64encode(done.stdout).rstrip(b"=").decode() == signature
