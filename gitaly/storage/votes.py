"""How creation and removal let others agree: nothing here knows who they are.

The transactions room hands in a `Vote` when a call carries a transaction of Praefect's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from hashlib import sha1
from typing import Protocol

from gitaly.errors import NodeError


class Phase(Enum):
    """When a vote is cast."""

    PREPARING = "preparing"
    PREPARED = "prepared"
    COMMITTED = "committed"


class Vote(Protocol):
    """Casts a vote and waits for the others. Raises NodeError if they don't agree."""

    async def __call__(self, phase: Phase, digest: bytes) -> None:
        """`digest`: 20 bytes of SHA-1 over what must be the same everywhere."""
        ...


def digest_of(data: bytes) -> bytes:
    """What is voted on, for data that all nodes have."""
    return sha1(data, usedforsecurity=False).digest()


@contextmanager
def voting(kind: type[NodeError], text: str) -> Iterator[None]:
    """Prefix the error of a vote; one that says no more than that it failed becomes a `kind`."""
    try:
        yield
    except NodeError as error:
        error.message = f"{text}: {error.message}"
        if type(error) is not NodeError:
            raise
        raise kind(error.message, **error.metadata) from error
