"""Signatures of commits, and the node's own keys that may have made them."""

from gitaly.git.signatures.files import NO_SIGNING_KEYS, SigningKeyFiles
from gitaly.git.signatures.keys import SigningKey, SigningKeys, UnusableKey

__all__ = ["NO_SIGNING_KEYS", "SigningKey", "SigningKeyFiles", "SigningKeys", "UnusableKey"]
