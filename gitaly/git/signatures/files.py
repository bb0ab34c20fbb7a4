"""The files that hold the node's keys."""

from collections.abc import Sequence
from typing import Final

from gitaly.errors import Internal, prefixed
from gitaly.git.os_errors import reason
from gitaly.git.signatures.keys import SigningKey, SigningKeys
from gitaly.git.signatures.openpgp import OpenPGPKey
from gitaly.git.signatures.ssh import SSHKey

_SSH: Final = b"-----BEGIN OPENSSH"


class SigningKeyFiles:
    """Where the keys are. They are read whenever they are needed, so a change needs no restart.

    Source: Gitaly, internal/signature.
    """

    def __init__(self, primary: str = "", rotated: Sequence[str] = ()) -> None:
        """Paths; `primary` empty: the node has no keys, whatever `rotated` names."""
        self._primary = primary
        self._rotated = tuple(rotated)

    def __bool__(self) -> bool:
        return bool(self._primary)

    def primary(self) -> SigningKey:
        """The key that signs. Blocks. Raises Internal."""
        with prefixed("failed to parse signing key"):
            return _read(self._primary)

    def all(self) -> SigningKeys:
        """The key that signs and the earlier ones. Blocks. Raises Internal for any of them."""
        with prefixed("failed to parse signing key"):
            return SigningKeys(_read(self._primary), [_read(path) for path in self._rotated])


NO_SIGNING_KEYS: Final = SigningKeyFiles()


def _read(path: str) -> SigningKey:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Internal(f"open file: {reason(error)}", path=path) from error
    return SSHKey.parse(data) if data.startswith(_SSH) else OpenPGPKey.parse(data)
