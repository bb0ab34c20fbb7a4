"""The public half of the key that the node signs commits with."""

import base64
import binascii
import struct
from typing import Final

from gitaly.errors import Internal
from gitaly.git.os_errors import reason

_BEGIN: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_END: Final = b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC: Final = b"openssh-key-v1\0"


def public_signing_key(path: str) -> bytes:
    """Of the private key in a file: a line as in authorized_keys, with its newline. Blocks.

    An OpenSSH private key holds the public one in the clear, so no ssh-keygen is needed.
    Raises Internal for what cannot be read, and for GPG keys. Source: Gitaly, internal/signature;
    OpenSSH, PROTOCOL.key.
    """
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise Internal(f"failed to parse signing key: open file: {reason(error)}") from error
    if not text.startswith(b"-----BEGIN OPENSSH"):
        raise Internal("failed to fetch public key: gpg public key not implemented")
    try:
        blob = _public_blob(text)
        kind, _ = _string(blob)
    except (struct.error, ValueError, binascii.Error) as error:
        raise Internal("failed to parse signing key: not an OpenSSH private key") from error
    return kind + b" " + base64.b64encode(blob) + b"\n"


def _public_blob(text: bytes) -> bytes:
    body = text.partition(_BEGIN)[2].partition(_END)[0]
    data = base64.b64decode(b"".join(body.split()), validate=True)
    if not data.startswith(_MAGIC):
        raise ValueError("no magic")
    cipher, rest = _string(data[len(_MAGIC) :])
    if cipher != b"none":
        raise Internal("failed to parse signing key: this private key is passphrase protected")
    _, rest = _string(rest)  # key derivation
    _, rest = _string(rest)  # and its options
    (count,) = struct.unpack_from(">I", rest)
    if count != 1:
        raise ValueError("not one key")
    return _string(rest[4:])[0]


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", data)
    if len(data) < 4 + length:
        raise ValueError("cut off")
    return data[4 : 4 + length], data[4 + length :]
