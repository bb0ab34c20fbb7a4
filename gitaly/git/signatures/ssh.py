"""SSH keys and the signatures that ssh-keygen makes with them.

Sources: OpenSSH, PROTOCOL.key and PROTOCOL.sshsig; Gitaly, internal/signature/ssh.go.
"""

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from hashlib import sha512
from typing import TYPE_CHECKING, Final, Self

from gitaly.errors import prefixed
from gitaly.git.quoting import go_quoted
from gitaly.git.signatures.keys import UnusableKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization.ssh import SSHPublicKeyTypes

_PEM: Final = re.compile(
    rb"-----BEGIN ([^\n-]+)-----[ \t]*\n([A-Za-z0-9+/= \t\n]*)\n-----END \1-----[ \t]*(?:\n|\Z)"
)
_KEY_MAGIC: Final = b"openssh-key-v1\0"
_SIGNATURE_MAGIC: Final = b"SSHSIG"
_NAMESPACE: Final = b"git"
_HASH: Final = b"sha512"
_RSA_SHA256: Final = b"rsa-sha2-256"
_RSA_SHA512: Final = b"rsa-sha2-512"


@dataclass(frozen=True, slots=True)
class SSHKey:
    """An Ed25519, ECDSA or RSA key. Only its public half is ever looked at here."""

    kind: bytes  # "ssh-ed25519"
    blob: bytes  # the public key as the protocol has it

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """An OpenSSH private key, which holds the public one in the clear. Raises UnusableKey.

        The texts are those of Go's ssh package.
        """
        with prefixed("parse private key"):
            blob = _public_blob(data)
            try:
                kind = _Fields(blob).string()
                _loaded(kind, blob)
            except ValueError as error:
                raise UnusableKey("ssh: unhandled key type") from error
            return cls(kind, blob)

    def public_key(self) -> bytes:
        """A line as in authorized_keys, with its line feed and without a comment."""
        return self.kind + b" " + base64.b64encode(self.blob) + b"\n"

    def has_made(self, signature: bytes, text: bytes) -> bool:
        """Whether the signature, as it is in a commit, is this key's of this text."""
        parts = _parts(signature)
        if parts is None:
            return False
        algorithm, value = parts
        signed = b"".join(
            [_SIGNATURE_MAGIC, *map(_packed, (_NAMESPACE, b"", _HASH, sha512(text).digest()))]
        )
        return _is_valid(self.kind, _loaded(self.kind, self.blob), algorithm, value, signed)


def _public_blob(data: bytes) -> bytes:
    """Of a file with a private key."""
    found = _PEM.match(data)
    if found is None:
        raise UnusableKey("ssh: no key found")
    if found[1] != b"OPENSSH PRIVATE KEY":
        raise UnusableKey(f"ssh: unsupported key type {go_quoted(found[1])}")
    try:
        return _only_public_blob(_decoded(found[2]))
    except ValueError as error:
        raise UnusableKey("ssh: invalid openssh private key format") from error


def _only_public_blob(data: bytes) -> bytes:
    if not data.startswith(_KEY_MAGIC):
        raise ValueError("no magic")
    fields = _Fields(data[len(_KEY_MAGIC) :])
    cipher, derivation, _ = fields.string(), fields.string(), fields.string()
    count = fields.number()
    if count != 1:
        raise UnusableKey("ssh: multi-key files are not supported")
    blob = fields.string()
    if (cipher, derivation) != (b"none", b"none"):
        raise UnusableKey("ssh: this private key is passphrase protected")
    fields.string()  # the private half must be there, as a whole
    return blob


def _parts(armored: bytes) -> tuple[bytes, bytes] | None:
    """The algorithm and the value of a signature for git; None: it is no such signature.

    The key that a signature names does not matter: it is verified with ours. OpenSSH's version 1
    with SHA-512 is the only one that Gitaly makes and verifies.
    """
    found = _PEM.fullmatch(armored)
    if found is None or found[1] != b"SSH SIGNATURE":
        return None
    try:
        data = _decoded(found[2])
        fields = _Fields(data[len(_SIGNATURE_MAGIC) :])
        version, _ = fields.number(), fields.string()
        scope = (fields.string(), fields.string(), fields.string())
        signature = _Fields(fields.string())
        algorithm, value = signature.string(), signature.string()
    except ValueError:
        return None
    is_ours = data.startswith(_SIGNATURE_MAGIC) and version == 1 and fields.are_over
    return (algorithm, value) if is_ours and scope == (_NAMESPACE, b"", _HASH) else None


def _loaded(kind: bytes, blob: bytes) -> "SSHPublicKeyTypes":
    """Raises ValueError."""
    # Here, because it takes 50 ms and 8 MB, which only nodes with such a key shall pay.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        return load_ssh_public_key(kind + b" " + base64.b64encode(blob))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def _is_valid(
    kind: bytes, key: "SSHPublicKeyTypes", algorithm: bytes, value: bytes, signed: bytes
) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        match key:
            case rsa.RSAPublicKey():
                return _verify_rsa(key, algorithm, value, signed)
            case ed25519.Ed25519PublicKey() if algorithm == kind:
                key.verify(value, signed)
                return True
            case ec.EllipticCurvePublicKey() if algorithm == kind:
                return _verify_ecdsa(key, value, signed)
    except (InvalidSignature, ValueError):
        return False
    return False


def _verify_rsa(key: "RSAPublicKey", algorithm: bytes, value: bytes, signed: bytes) -> bool:
    """Not with SHA-1, which nothing has ever signed a commit with."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    if algorithm not in (_RSA_SHA256, _RSA_SHA512):
        return False
    digest = hashes.SHA512() if algorithm == _RSA_SHA512 else hashes.SHA256()
    key.verify(value, signed, PKCS1v15(), digest)
    return True


def _verify_ecdsa(key: "EllipticCurvePublicKey", value: bytes, signed: bytes) -> bool:
    """The hash goes with the curve (RFC 5656, 6.2.1)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    fields = _Fields(value)
    r, s = fields.integer(), fields.integer()
    digest: hashes.HashAlgorithm = hashes.SHA512()
    if key.curve.key_size <= 256:
        digest = hashes.SHA256()
    elif key.curve.key_size <= 384:
        digest = hashes.SHA384()
    key.verify(encode_dss_signature(r, s), signed, ECDSA(digest))
    return fields.are_over


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _packed(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


class _Fields:
    """Takes apart what SSH packs (RFC 4251, 5). Raises ValueError where something is cut off."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def are_over(self) -> bool:
        return self._place == len(self._data)

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    def integer(self) -> int:
        """Of any size, and not negative: no part of a signature is."""
        value = int.from_bytes(self.string(), "big", signed=True)
        if value < 0:
            raise ValueError("negative")
        return value

    def _take(self, size: int) -> bytes:
        piece = self._data[self._place : self._place + size]
        if len(piece) < size:
            raise ValueError("cut off")
        self._place += size
        return piece
