"""The policy and the webhooks of a standalone node as the ones who decide about pushes."""

from collections.abc import Sequence

from gitaly.git import Git
from gitaly.hooks.authority import NotAllowed
from gitaly.hooks.output import Output
from gitaly.hooks.payload import Requested
from gitaly.hooks.push import Change, Push, changes_of
from gitaly.hooks.standalone.policy import Policy
from gitaly.hooks.standalone.webhook import Webhook, WebhookRefuses
from gitaly.storage import Repository


class StandaloneAuthority:
    """Allows everything that neither a rule nor a webhook is against."""

    def __init__(
        self,
        git: Git,
        policy: Policy,
        before: Webhook | None = None,
        after: Webhook | None = None,
    ) -> None:
        self._git = git
        self._policy = policy
        self._before = before
        self._after = after

    def asked_by(self, repository: Repository) -> Requested:
        found = Requested(0)
        if self._before is not None or self._policy.is_asked(_name(repository)):
            found |= Requested.PRE_RECEIVE
        if self._after is not None:
            found |= Requested.POST_RECEIVE
        return found

    def receive_config(self, repository: Repository) -> list[tuple[str, str]]:
        """git counts while it receives, and refuses before a disk is full."""
        limit = self._policy.max_push_bytes(_name(repository))
        return [("receive.maxInputSize", str(limit))] if limit else []

    async def allow(self, push: Push, changes: bytes) -> None:
        parsed = changes_of(changes)
        name = _name(push.repository)
        if self._policy.is_asked(name):
            judged = [(change, await self._loses_commits(push, change)) for change in parsed]
            user_id = push.user.userid if push.user is not None else ""
            objections = self._policy.objections(name, user_id, judged)
            if objections:
                text = "\n".join(objections)
                raise NotAllowed(text, reason=text, push=push, changes=changes)
        if self._before is not None:
            await self._ask(self._before, push, parsed, changes)

    async def begin(self, _: Push) -> None:
        """Nobody counts."""

    async def end(self, push: Push, changes: bytes, output: Output) -> None:
        if self._after is not None:
            message = await self._after.tell(push, changes_of(changes))
            if message:
                await output.stdout(f"{message}\n".encode())

    async def _loses_commits(self, push: Push, change: Change) -> bool:
        if not self._policy.needs_ancestry(_name(push.repository), change):
            return False
        names = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
        done = await self._git.output(
            "merge-base",
            repository=push.repository,
            flags=["--is-ancestor"],
            args=[change.old, change.new],
            env={name: push.environment[name] for name in names if name in push.environment},
        )
        return not done.exit  # also where one of them is no commit

    async def _ask(
        self, webhook: Webhook, push: Push, parsed: Sequence[Change], changes: bytes
    ) -> None:
        try:
            await webhook.ask(push, parsed)
        except WebhookRefuses as error:
            raise NotAllowed(
                error.message, reason=error.message, push=push, changes=changes
            ) from error


def _name(repository: Repository) -> str:
    return f"{repository.storage_name}/{repository.relative_path}"
