"""GitLab as the one who decides about pushes.

Order of the checks and their texts are the reference's. Source: Gitaly,
internal/gitaly/hook/{prereceive,postreceive}.go.
"""

import os
from dataclasses import replace

from gitaly.errors import Internal, prefixed
from gitaly.hooks.authority import NotAllowed, NotCounted
from gitaly.hooks.gitlab.client import ApiError, GitLab, Ping
from gitaly.hooks.gitlab.messages import printed
from gitaly.hooks.gitlab.requests import Caller
from gitaly.hooks.output import Output
from gitaly.hooks.payload import Requested, UserDetails
from gitaly.hooks.push import Push
from gitaly.storage import Repository


class GitLabAuthority:
    """Asks the internal API."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab

    def asked_by(self, _: Repository) -> Requested:
        return Requested.PRE_RECEIVE | Requested.POST_RECEIVE

    def receive_config(self, _: Repository) -> list[tuple[str, str]]:
        return []  # Rails says with each push what it wants

    async def allow(self, push: Push, changes: bytes) -> None:
        repository = _with_relative_quarantine(push)
        if not repository.gl_repository:
            raise Internal("repository not set")
        user = _user(push)
        if not user.protocol:
            raise Internal("protocol not set")
        ping = Ping(
            gl_id=user.userid,
            gl_repository=repository.gl_repository,
            changes=changes,
            push_options=push.push_options,
            protocol=user.protocol,
            project=repository.path,
            relative_path=repository.relative_path,
            object_directory=repository.git_object_directory,
            alternate_object_directories=repository.git_alternate_object_directories or None,
        )
        with prefixed("GitLab"):
            try:
                answer = await self._gitlab.allowed(ping, _caller(push))
            except ApiError as error:
                raise NotAllowed(
                    error.message, reason=error.message, push=push, changes=changes
                ) from error
            if not answer.is_allowed:
                said = answer.message
                raise NotAllowed(said, reason=said, push=push, changes=changes)

    async def begin(self, push: Push) -> None:
        with prefixed("calling pre_receive endpoint"):
            counted = await self._gitlab.pre_receive(push.repository.gl_repository, _caller(push))
        if not counted:
            raise NotCounted

    async def end(self, push: Push, changes: bytes, output: Output) -> None:
        user = _user(push)
        if not push.repository.gl_repository:
            raise Internal("repository not set")
        ping = Ping(
            gl_id=user.userid,
            gl_repository=push.repository.gl_repository,
            changes=changes,
            push_options=push.push_options,
        )
        with prefixed("GitLab"):
            counted, messages = await self._gitlab.post_receive(ping, _caller(push))
        for piece in printed(messages):
            await output.stdout(piece)
        if not counted:
            raise NotCounted


def _user(push: Push) -> UserDetails:
    if push.user is None:
        raise Internal("payload has no receive hooks info")
    if not push.user.userid:
        raise Internal("user ID not set")
    return push.user


def _caller(push: Push) -> Caller:
    return Caller(
        correlation_id=push.correlation_id,
        remote_ip=push.user.remote_ip if push.user is not None else "",
        client_context=push.client_context,
    )


def _with_relative_quarantine(push: Push) -> Repository:
    """Rails looks at new objects from its own place: paths are relative to the repository."""
    own = push.environment.get("GIT_OBJECT_DIRECTORY", "")
    others = push.environment.get("GIT_ALTERNATE_OBJECT_DIRECTORIES", "")
    if not (own and others):
        return push.repository
    root = os.path.realpath(push.repository.path)
    return replace(
        push.repository,
        git_object_directory=os.path.relpath(own, root),
        git_alternate_object_directories=tuple(
            os.path.relpath(path, root) for path in others.split(":")
        ),
    )
