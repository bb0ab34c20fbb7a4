"""Who says whether a push may happen: GitLab, or a policy of the node's own."""

from typing import Protocol

from gitaly.errors import Internal
from gitaly.hooks.output import Output
from gitaly.hooks.payload import Requested
from gitaly.hooks.push import Push
from gitaly.storage import Repository


class NotAllowed(Internal):
    """Somebody who has a say in it refuses a push; the message is for the pusher.

    `reason` is what the authority itself said. Which status an RPC makes of it differs.
    """

    def __init__(self, message: str, *, reason: str, push: Push, changes: bytes) -> None:
        super().__init__(message)
        self.reason = reason
        self.push = push
        self.changes = changes


class NotCounted(Internal):
    """The authority could not take note of a push. There is nothing to read about it."""

    def __init__(self) -> None:
        super().__init__("")


class Authority(Protocol):
    """Asked about each push, in this order."""

    def asked_by(self, repository: Repository) -> Requested:
        """In which hooks it wants to be asked about pushes to a repository."""
        ...

    def receive_config(self, repository: Repository) -> list[tuple[str, str]]:
        """Configuration by which git itself keeps a push within limits."""
        ...

    async def allow(self, push: Push, changes: bytes) -> None:
        """Before anything of a push is visible. Raises NotAllowed, NodeError."""
        ...

    async def begin(self, push: Push) -> None:
        """The custom hooks agree, too. Raises NotCounted, NodeError."""
        ...

    async def end(self, push: Push, changes: bytes, output: Output) -> None:
        """References have changed; may tell the pusher something. Raises NotCounted, NodeError."""
        ...
