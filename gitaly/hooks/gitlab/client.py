"""The calls of GitLab's internal API that concern a push, and the texts of their failures.

The texts reach the pusher, who reads `GitLab: <text>`: they are the reference's. Why the API could
not be reached is in the log only. Source: Gitaly, internal/gitlab.
"""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Histogram

from gitaly.errors import Internal, ResourceExhausted, prefixed
from gitaly.hooks.gitlab.endpoint import Endpoint
from gitaly.hooks.gitlab.http_client import HttpClient, Unreachable
from gitaly.hooks.gitlab.http_wire import Response
from gitaly.hooks.gitlab.requests import (
    BadGlId,
    Caller,
    allowed_body,
    post_receive_body,
    pre_receive_body,
)
from gitaly.observe.log import Logger
from gitaly.token import gitlab_token

JSON: Final = "application/json"


class ApiError(Internal):
    """The API said no, or nothing, or nothing that can be understood."""


class RateLimited(ResourceExhausted):
    """GitLab wants to be asked less often."""

    def __init__(self) -> None:
        super().__init__("rate limited")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What GitLab says to a push; `message` is meant for the pusher."""

    is_allowed: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something for the pusher to read after the push; kinds: "basic", "alert"."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInfo:
    """What GitLab says of itself. A value that it leaves out is empty."""

    gitlab_version: str = ""
    gitlab_revision: str = ""
    api_version: str = ""
    is_redis_reachable: bool = False
    seconds_ahead: float | None = None  # of GitLab's clock; None: it does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A push, as far as GitLab needs to know it."""

    gl_id: str
    gl_repository: str
    changes: bytes  # lines "old new ref\n"
    push_options: Sequence[str] = ()
    protocol: str = ""
    project: str = ""  # absolute path of the repository
    relative_path: str = ""
    object_directory: str = ""  # of the quarantine, relative to the repository
    alternate_object_directories: Sequence[str] | None = None


class GitLabMetrics:
    """How long answers take."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        """Without buckets nothing is measured."""
        self._seconds = (
            Histogram(
                "gitaly_gitlab_api_latency_seconds",
                "Latency between posting to GitLab's `/internal/` APIs and receiving a response",
                ["endpoint"],
                buckets=tuple(buckets),
                registry=registry,
            )
            if buckets
            else None
        )

    def observe(self, endpoint: str, seconds: float) -> None:
        """One answer, or the lack of one."""
        if self._seconds is not None:
            self._seconds.labels(endpoint).observe(seconds)


class GitLab:
    """The internal API of one GitLab."""

    def __init__(
        self,
        http: HttpClient,
        endpoint: Endpoint,
        *,
        secret: bytes,
        user_agent: str,
        metrics: GitLabMetrics | None,
        logger: Logger,
        basic_auth: tuple[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`secret`: white space around it does not count. `now`: seconds since 1970."""
        self._http = http
        self._endpoint = endpoint
        self._secret = secret.strip()
        self._metrics = metrics
        self._logger = logger
        self._now = now
        self._headers = [("Content-Type", JSON), ("User-Agent", user_agent)]
        if basic_auth is not None and all(basic_auth):
            credentials = base64.b64encode(":".join(basic_auth).encode()).decode()
            self._headers.append(("Authorization", f"Basic {credentials}"))

    async def allowed(self, push: Ping, caller: Caller) -> Access:
        """Whether a push may go on. Raises ApiError, RateLimited."""
        try:
            body = allowed_body(
                gl_id=push.gl_id,
                gl_repository=push.gl_repository,
                project=push.project,
                relative_path=push.relative_path,
                protocol=push.protocol,
                changes=push.changes,
                object_directory=push.object_directory,
                alternate_object_directories=push.alternate_object_directories,
                push_options=push.push_options,
                client_context=caller.client_context,
            )
        except BadGlId as error:
            raise ApiError(str(error)) from error
        response = await self._ask("allowed", "POST", "/allowed", caller, body)
        if response.status not in (200, 300):
            raise ApiError(f"gitlab api is not accessible: {response.status}")
        said = _object(response, "/allowed")
        return Access(is_allowed=said.get("status") is True, message=_text(said, "message"))

    async def pre_receive(self, gl_repository: str, caller: Caller) -> bool:
        """Count a push that has begun; False: GitLab did not. Raises ApiError, RateLimited."""
        body = pre_receive_body(gl_repository)
        with prefixed("http post to gitlab api /pre_receive endpoint"):
            response = await self._ask("pre-receive", "POST", "/pre_receive", caller, body)
        if response.status != 200:
            raise ApiError(f"pre-receive call failed with status: {response.status}")
        said = _object(response, "/pre_receive")
        return said.get("reference_counter_increased") is True

    async def post_receive(self, push: Ping, caller: Caller) -> tuple[bool, Sequence[Message]]:
        """Count a push that has ended (False: GitLab did not), and what its user should read.

        Raises ApiError, RateLimited.
        """
        body = post_receive_body(
            gl_id=push.gl_id,
            gl_repository=push.gl_repository,
            changes=push.changes,
            push_options=push.push_options,
            client_context=caller.client_context,
        )
        with prefixed("http post to gitlab api /post_receive endpoint"):
            response = await self._ask("post-receive", "POST", "/post_receive", caller, body)
        if response.status != 200:
            raise ApiError(f"post-receive call failed with status: {response.status}")
        said = _object(response, "/post_receive")
        found = said.get("messages") or []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ApiError("decoding response from /post_receive endpoint: messages")
        messages = [Message(text=_text(one, "message"), kind=_text(one, "type")) for one in found]
        return said.get("reference_counter_decreased") is True, messages

    async def check(self, caller: Caller) -> CheckInfo:
        """Whether this secret opens this API. Raises ApiError, RateLimited."""
        with prefixed("HTTP GET to GitLab endpoint /check failed"):
            response = await self._ask("check", "GET", "/check", caller)
        if response.status != 200:
            raise ApiError(f"Check HTTP request failed with status: {response.status}")
        said = _decoded(response, "failed to decode response from /check endpoint")
        return CheckInfo(
            gitlab_version=_text(said, "gitlab_version"),
            gitlab_revision=_text(said, "gitlab_revision"),
            api_version=_text(said, "api_version"),
            is_redis_reachable=said.get("redis") is True,
            seconds_ahead=self._seconds_ahead(response),
        )

    def _seconds_ahead(self, response: Response) -> float | None:
        try:
            date = parsedate_to_datetime(response.headers.get("date", ""))
        except ValueError:
            return None
        return date.timestamp() - self._now()

    async def _ask(
        self, name: str, method: str, path: str, caller: Caller, body: bytes = b""
    ) -> Response:
        endpoint = self._endpoint.below(path)
        headers = [
            ("Gitlab-Shell-Api-Request", gitlab_token(self._secret, int(self._now()))),
            ("X-Request-ID", caller.correlation_id),
            *self._headers,
        ]
        if caller.remote_ip:
            headers.append(("X-Forwarded-For", caller.remote_ip))
        started = time.monotonic()
        fields: dict[str, object] = {
            "method": method,
            "url": endpoint.url,
            "correlation_id": caller.correlation_id,
        }
        try:
            response = await self._http.exchange(method, endpoint, headers, body)
        except Unreachable as error:
            fields["duration_ms"] = _milliseconds_since(started)
            self._logger.error("Internal API unreachable", error=str(error), **fields)
            raise ApiError("Internal API unreachable", why=str(error)) from error
        finally:
            if self._metrics is not None:
                self._metrics.observe(name, time.monotonic() - started)
        fields |= {"duration_ms": _milliseconds_since(started), "status": response.status}
        failure = _failure(response)
        if failure is not None:
            self._logger.error("Internal API error", error=failure.message, **fields)
            raise failure
        self._logger.info(
            "Finished HTTP request", content_length_bytes=len(response.body), **fields
        )
        return response


def _milliseconds_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)


def _failure(response: Response) -> ApiError | RateLimited | None:
    if 200 <= response.status <= 399:
        return None
    if response.status == 429:
        return RateLimited()
    try:
        said = response.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return ApiError(f"Internal API error ({response.status})")
    return ApiError(_text(said, "message"))


def _object(response: Response, path: str) -> Mapping[str, Any]:
    if response.media_type != JSON:
        kind = response.media_type or "mime: no media type"
        raise ApiError(f"{path} endpoint respond with unsupported content type: {kind}")
    return _decoded(response, f"decoding response from {path} endpoint")


def _decoded(response: Response, words: str) -> Mapping[str, Any]:
    try:
        said = response.json()
    except ValueError as error:
        raise ApiError(f"{words}: not JSON") from error
    if not isinstance(said, dict):
        raise ApiError(f"{words}: not a JSON object")
    return said


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""
