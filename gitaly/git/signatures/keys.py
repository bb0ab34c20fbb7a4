"""The keys that the node has signed commits with: one of today, and those of earlier days."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gitaly.errors import Internal


class UnusableKey(Internal):
    """A file is not a private key that can sign without anybody's help."""


class SigningKey(Protocol):
    """One key, of whichever kind. For any thread."""

    def has_made(self, signature: bytes, text: bytes) -> bool:
        """Whether this key, which was in force then, has signed just this text."""
        ...

    def public_key(self) -> bytes:
        """What others verify with: a line of authorized_keys. Raises Internal if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The key that signs, and others that did so before."""

    primary: SigningKey
    rotated: Sequence[SigningKey] = ()

    def have_made(self, signature: bytes, text: bytes) -> bool:
        """Whether one of them has signed just this text."""
        return any(key.has_made(signature, text) for key in (self.primary, *self.rotated))
