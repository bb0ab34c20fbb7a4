"""Somebody else who is asked about pushes, and told of them: a URL that takes JSON.

A refusal is an answer with a status from 400 to 499; its `message` is for the pusher. Whatever
else is not a success means that nobody knows, and then nothing is accepted.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gitaly.errors import Internal
from gitaly.hooks.gitlab import Endpoint, HttpClient, Response, Unreachable
from gitaly.hooks.gitlab.requests import text
from gitaly.hooks.push import Change, Push
from gitaly.observe.log import Logger

SIGNATURE: Final = "X-Gitaly-Signature-256"
MOST_MESSAGE: Final = 4096  # characters


class WebhookRefuses(Internal):
    """The message is for the pusher."""


class Webhook:
    """One URL."""

    def __init__(
        self,
        http: HttpClient,
        endpoint: Endpoint,
        *,
        secret: bytes,
        user_agent: str,
        logger: Logger,
    ) -> None:
        """`secret`: signs what is sent, as GitHub's webhooks do; empty: nothing is signed."""
        self._http = http
        self._endpoint = endpoint
        self._secret = secret
        self._user_agent = user_agent
        self._logger = logger

    async def ask(self, push: Push, changes: Sequence[Change]) -> None:
        """May it happen? Raises WebhookRefuses."""
        try:
            response = await self._send("pre-receive", push, changes)
        except Unreachable as error:
            self._warn(push, str(error))
            raise WebhookRefuses("The push could not be checked: nobody answers.") from error
        if 200 <= response.status < 300:
            return
        if 400 <= response.status < 500:
            raise WebhookRefuses(_message(response) or "The push was refused.")
        self._warn(push, f"status {response.status}")
        raise WebhookRefuses("The push could not be checked: no useful answer.")

    async def tell(self, push: Push, changes: Sequence[Change]) -> str:
        """It has happened. What the pusher should read; failures are for the log alone."""
        try:
            response = await self._send("post-receive", push, changes)
        except Unreachable as error:
            self._warn(push, str(error))
            return ""
        if not 200 <= response.status < 300:
            self._warn(push, f"status {response.status}")
            return ""
        return _message(response)

    async def _send(self, event: str, push: Push, changes: Sequence[Change]) -> Response:
        body = json.dumps(_body(event, push, changes), separators=(",", ":")).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("User-Agent", self._user_agent),
            ("X-Request-ID", push.correlation_id),
        ]
        if self._secret:
            digest = hmac.digest(self._secret, body, "sha256").hex()
            headers.append((SIGNATURE, f"sha256={digest}"))
        return await self._http.exchange("POST", self._endpoint, headers, body)

    def _warn(self, push: Push, why: str) -> None:
        self._logger.error(
            "webhook failed",
            url=self._endpoint.url.partition("?")[0],
            error=why,
            correlation_id=push.correlation_id,
        )


def _body(event: str, push: Push, changes: Sequence[Change]) -> Mapping[str, object]:
    repository, user = push.repository, push.user
    return {
        "event": event,
        "correlation_id": push.correlation_id,
        "repository": {
            "storage": repository.storage_name,
            "relative_path": repository.relative_path,
            "path": repository.path,
        },
        "user": {
            "id": user.userid if user else "",
            "name": user.username if user else "",
            "protocol": user.protocol if user else "",
            "remote_ip": user.remote_ip if user else "",
        },
        "push_options": [text(x.encode("utf-8", "surrogateescape")) for x in push.push_options],
        "changes": [
            {"old": change.old, "new": change.new, "ref": text(change.reference)}
            for change in changes
        ],
        "object_directory": push.environment.get("GIT_OBJECT_DIRECTORY", ""),
        "alternate_object_directories": push.environment.get(
            "GIT_ALTERNATE_OBJECT_DIRECTORIES", ""
        ),
    }


def _message(response: Response) -> str:
    try:
        said: Any = response.json()
    except ValueError:
        return ""
    message = said.get("message") if isinstance(said, dict) else None
    return message[:MOST_MESSAGE] if isinstance(message, str) else ""
