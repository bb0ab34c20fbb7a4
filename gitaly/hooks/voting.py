"""How hooks let other nodes agree; what a vote is made of, and nothing about how it is cast.

Source: Gitaly, internal/gitaly/hook/{transactions,referencetransaction}.go.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from hashlib import sha1
from types import MappingProxyType
from typing import Final, Protocol

from gitaly.hooks.payload import TransactionDetails


class VotePhase(IntEnum):
    """When a vote is cast; the numbers are those of the protocol."""

    PREPARED = 1
    COMMITTED = 2
    SYNCHRONIZED = 3
    PREPARING = 4


class Voter(Protocol):
    """Votes in one transaction of Praefect's, in the name of this node."""

    @property
    def is_primary(self) -> bool:
        """Whether this node asks GitLab and runs custom hooks for all the others."""
        ...

    async def vote(self, phase: VotePhase, digest: bytes) -> None:
        """Cast it and wait for the others; 20 bytes. Raises NodeError if they don't agree."""
        ...

    async def stop(self) -> None:
        """Let nobody agree any more. Raises NodeError."""
        ...


class NoTransaction:
    """Of a node that is asked by nobody but its client: it decides alone."""

    is_primary = True

    async def vote(self, phase: VotePhase, digest: bytes) -> None:
        """Nobody is interested."""

    async def stop(self) -> None:
        """There is nobody to stop."""


# From what the hooks' payload says of a transaction to the one who votes in it. Raises NodeError.
VoterOf = Callable[[TransactionDetails | None], Voter]

# States of git's reference-transaction hook whose outcome is voted on.
VOTED_STATES: Final[Mapping[str, VotePhase]] = MappingProxyType(
    {
        "preparing": VotePhase.PREPARING,
        "prepared": VotePhase.PREPARED,
        "committed": VotePhase.COMMITTED,
    }
)


def nobody_votes(_: TransactionDetails | None) -> Voter:
    """The `VoterOf` of a node that is not behind Praefect."""
    return NoTransaction()


def synchronization_digest(hook: str) -> bytes:
    """What is voted on after a hook ("pre-receive") has run."""
    return sha1(f"synchronize {hook} hook".encode(), usedforsecurity=False).digest()


def reference_digest(changes: bytes) -> bytes | None:
    """What is voted on for changes of references; None: nothing, there is no vote.

    Force deletions, `0… 0… ref`, come from packed-refs and differ between nodes.
    """
    lines = changes.splitlines()
    if all(_is_force_deletion(line) for line in lines):
        return None
    return sha1(changes, usedforsecurity=False).digest()


def _is_force_deletion(line: bytes) -> bool:
    old, _, rest = line.partition(b" ")
    new, space, _ = rest.partition(b" ")
    return bool(space) and not old.strip(b"0") and not new.strip(b"0")
