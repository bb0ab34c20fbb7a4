"""What happens when a push reaches one of its hooks, whoever has called: git or the node itself.

    pre-receive   authority says yes → custom hooks → authority takes note → vote
    update        custom hooks → vote
    references    vote, on every node
    post-receive  authority hears of it → custom hooks → vote

Where Praefect stands behind a push, only its primary node asks and runs; all nodes vote. Source:
Gitaly, internal/gitaly/hook.
"""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gitaly.errors import Internal, NodeError, prefixed
from gitaly.git import go_quoted
from gitaly.hooks.authority import Authority
from gitaly.hooks.custom import CustomHooks
from gitaly.hooks.custom.runner import CustomHookFailed
from gitaly.hooks.output import Output
from gitaly.hooks.payload import Requested
from gitaly.hooks.push import Push
from gitaly.observe.log import Logger
from gitaly.storage import Repository
from gitaly.transactions import Voter, VoterOf

_OBJECT_IDS: Final = {
    "sha1": re.compile(r"[0-9a-f]{40}", re.ASCII),
    "sha256": re.compile(r"[0-9a-f]{64}", re.ASCII),
}
_BY_NAME: Final = {
    "pre-receive": Requested.PRE_RECEIVE,
    "update": Requested.UPDATE,
    "post-receive": Requested.POST_RECEIVE,
}


class HookManager:
    """Decides about pushes.

    Every method raises CustomHookFailed, whose exit is the hook's; NotAllowed; RateLimited; or
    another NodeError, whose message is for the pusher. What hooks print goes to the output at once.
    """

    def __init__(
        self, authority: Authority, custom_hooks: CustomHooks, voter_of: VoterOf, logger: Logger
    ) -> None:
        self._authority = authority
        self._custom_hooks = custom_hooks
        self._voter_of = voter_of
        self._logger = logger

    def adopt(self, authority: Authority) -> None:
        """Somebody else decides from now on, also about what is left of pushes under way."""
        self._authority = authority

    async def wanted(self, repository: Repository, *, votes: bool) -> Requested:
        """The hooks that can matter for a push that begins now; git starts a process for each.

        `votes`: whether the push belongs to a transaction of Praefect's.
        """
        found = self._authority.asked_by(repository)
        for name in await self._custom_hooks.installed(repository.path):
            found |= _BY_NAME[name]
        if votes:
            found |= Requested.REFERENCE_TRANSACTION
            for hook in _BY_NAME.values():
                found |= hook
        return found

    def receive_config(self, repository: Repository) -> list[tuple[str, str]]:
        """Configuration of a receive-pack that begins now."""
        return self._authority.receive_config(repository)

    async def pre_receive(self, push: Push, changes: bytes, output: Output) -> None:
        """All lines `old new ref` of a push: may it happen? Until now nothing of it is visible."""
        async with self._hook("pre-receive", push) as voter:
            if not voter.is_primary:
                return
            if not changes:
                raise Internal("hook got no reference updates")
            await self._authority.allow(push, changes)
            await self._custom_hooks.run("pre-receive", push, output, stdin=changes)
            await self._authority.begin(push)

    async def update(
        self, push: Push, reference: bytes, old: str, new: str, output: Output
    ) -> None:
        """One reference of a push: may it change?"""
        async with self._hook("update", push) as voter:
            if not voter.is_primary:
                return
            _check_update(push, reference, old, new)
            await self._custom_hooks.run(
                "update", push, output, args=[reference, old, new], stdin=b""
            )

    async def post_receive(self, push: Push, changes: bytes, output: Output) -> None:
        """The lines of references that have changed. Nothing that happens here undoes it."""
        async with self._hook("post-receive", push) as voter:
            if not voter.is_primary:
                return
            if not changes:
                raise Internal("hook got no reference updates")
            await self._authority.end(push, changes, output)
            await self._custom_hooks.run("post-receive", push, output, stdin=changes)

    async def reference_transaction(self, push: Push, state: str, changes: bytes) -> None:
        """git's own transaction: "preparing", "prepared", "committed", "aborted". Only votes."""
        with prefixed("reference-transaction hook"):
            await self._voter_of(push.transaction).reference_transaction(state, changes)

    @asynccontextmanager
    async def _hook(self, name: str, push: Push) -> AsyncIterator[Voter]:
        """What is the same for all: votes afterwards, a stop for the others, a line in the log."""
        started = time.monotonic()
        error: BaseException | None = None
        try:
            voter = self._voter_of(push.transaction)
            try:
                yield voter
            except NodeError:
                await self._stop(name, voter, push)
                raise
            await voter.synchronize(name)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._log(name, push, error, time.monotonic() - started)

    async def _stop(self, name: str, voter: Voter, push: Push) -> None:
        try:
            await voter.stop()
        except NodeError as error:
            self._logger.error(
                f"failed stopping transaction in {name} hook",
                error=error.message,
                correlation_id=push.correlation_id,
            )

    def _log(self, name: str, push: Push, error: BaseException | None, seconds: float) -> None:
        fields: dict[str, object] = {
            "hook": name,
            "exit_status": _exit_status(error),
            "duration_ms": int(seconds * 1000),
            "correlation_id": push.correlation_id,
            "repository": push.repository.relative_path,
            "user_id": push.user.userid if push.user is not None else "",
        }
        if error is None:
            self._logger.info("hook finished", **fields)
        elif isinstance(error, NodeError):
            self._logger.warning("hook refused", error=error.message, **fields)
        else:
            self._logger.warning("hook was stopped", error=type(error).__name__, **fields)


def _exit_status(error: BaseException | None) -> int:
    if isinstance(error, CustomHookFailed):
        return error.exit.number
    return 0 if error is None else 1


def _check_update(push: Push, reference: bytes, old: str, new: str) -> None:
    if not reference:
        raise Internal("hook got no reference")
    form = _OBJECT_IDS.get(push.object_format, _OBJECT_IDS["sha1"])
    for word, value in (("old", old), ("new", new)):
        if not form.fullmatch(value):
            raise Internal(f"hook got invalid {word} value: invalid object ID: {go_quoted(value)}")
    if push.user is None:
        raise Internal("payload has no receive hooks info")
