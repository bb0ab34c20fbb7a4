"""How creation and removal let others agree: nothing here knows who they are.

The transactions room hands in a `Vote` when a call carries a transaction of Praefect's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from hashlib import sha1
from typing import Protocol

from gitaly.errors import NodeError, prefixed


class Phase(Enum):
    """When a vote is cast."""

    PREPARING = "preparing"
    PREPARED = "prepared"
    COMMITTED = "committed"
    SYNCHRONIZED = "synchronized"  # nothing changes here; it only lines the nodes up


class VoteFailed(NodeError):
    """There is no agreement, and no more is known of why than the message says."""


class Vote(Protocol):
    """Casts a vote and waits for the others. Raises VoteFailed if they don't agree, and another
    NodeError if the vote could not be cast."""

    async def __call__(self, phase: Phase, digest: bytes) -> None:
        """`digest`: 20 bytes of SHA-1 over what must be the same everywhere."""
        ...


def digest_of(data: bytes) -> bytes:
    """What is voted on, for data that all nodes have."""
    return sha1(data, usedforsecurity=False).digest()


@contextmanager
def voting(kind: type[NodeError], text: str) -> Iterator[None]:
    """Prefix the error of a vote; a VoteFailed becomes a `kind`."""
    try:
        with prefixed(text):
            yield
    except VoteFailed as error:
        raise kind(error.message, **error.metadata) from error
