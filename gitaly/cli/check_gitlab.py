"""Checks of those who decide about pushes: GitLab's internal API, or the webhooks."""

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import Final

from gitaly.cli.checks import Check, CheckFailed, Found, Subject
from gitaly.hook_setup import make_gitlab
from gitaly.hooks.gitlab import Caller, CheckInfo, url_endpoint
from gitaly.observe.log import make_logger

GITLAB: Final = "GitLab API access"
MOST_SECONDS_OFF: Final = 30  # a token is good for 60
ADVICE: Final = (
    "see that gitlab.url is reached from here, and that gitlab.secret_file holds the same secret as"
    " GitLab's .gitlab_shell_secret"
)


def gitlab_checks(subject: Subject) -> Iterator[Check]:
    """Of the internal API if there is one, else of the standalone node's webhooks."""
    config = subject.config
    if config.is_standalone:
        for key in ("webhook_before", "webhook_after"):
            url = getattr(config.standalone, key)
            if url:
                yield Check(
                    f"standalone.{key}",
                    lambda url=url: _webhook(url),  # type: ignore[misc]  # a default binds it
                    "see that something listens there",
                )
        return
    found: list[CheckInfo] = []
    yield Check(GITLAB, lambda: _gitlab(subject, found), ADVICE)
    if found:
        yield Check("clock", lambda: _clock(found[0]), "synchronize the clocks of both machines")


def _gitlab(subject: Subject, found: list[CheckInfo]) -> Found:
    logger = make_logger(sys.stderr.buffer, level="fatal")
    gitlab = make_gitlab(subject.config, None, logger)
    info = asyncio.run(gitlab.check(Caller(correlation_id=os.urandom(16).hex())))
    found.append(info)
    return Found(
        lines=[
            f"GitLab version: {info.gitlab_version}",
            f"GitLab revision: {info.gitlab_revision}",
            f"GitLab Api version: {info.api_version}",
            f"Redis reachable for GitLab: {str(info.is_redis_reachable).lower()}",
        ]
    )


def _clock(info: CheckInfo) -> Found:
    if info.seconds_ahead is None:
        return Found("GitLab does not say what time it is")
    if abs(info.seconds_ahead) > MOST_SECONDS_OFF:
        raise CheckFailed(
            f"GitLab's clock and ours are {abs(info.seconds_ahead):.0f} seconds apart: it will"
            " refuse our tokens"
        )
    return Found(f"{abs(info.seconds_ahead):.0f} s from GitLab's")


def _webhook(url: str) -> Found:
    endpoint = url_endpoint(url)

    async def dial() -> None:
        async with asyncio.timeout(10):
            if endpoint.socket_path:
                _, writer = await asyncio.open_unix_connection(endpoint.socket_path)
            else:
                _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.close()

    asyncio.run(dial())
    return Found(f"{endpoint.authority} accepts connections")
