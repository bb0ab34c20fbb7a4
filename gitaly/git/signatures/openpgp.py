"""OpenPGP keys and signatures, which Sequoia reads and verifies.

It is stricter than the library that Gitaly uses: what was signed over SHA-1 does not count.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from gitaly.errors import Internal
from gitaly.git.signatures.keys import UnusableKey

if TYPE_CHECKING:
    from pysequoia import Cert

_TAG: Final = 0x80  # at least, of the first byte of a packet
_ARMORED_KEY: Final = b"-----BEGIN PGP "
_ARMORED_SIGNATURE: Final = b"-----BEGIN PGP SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class OpenPGPKey:
    """A key with its identities and subkeys, as `gpg --export-secret-keys` writes it."""

    certificate: "Cert"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Binary, or in ASCII armor, which Gitaly cannot read. Raises UnusableKey."""
        if not data:
            raise UnusableKey("read entity: EOF")
        if data[0] < _TAG and not data.startswith(_ARMORED_KEY):
            raise UnusableKey("read entity: openpgp: invalid data: tag byte does not have MSB set")
        from pysequoia import Cert  # 10 MB that only nodes with such a key shall load

        try:
            return cls(Cert.from_bytes(data))
        except RuntimeError as error:
            raise UnusableKey(
                "read entity: openpgp: invalid data: not an OpenPGP key", reason=_first_line(error)
            ) from error

    def public_key(self) -> bytes:
        """Gitaly tells no OpenPGP key, so clients expect none. Raises Internal."""
        raise Internal("gpg public key not implemented")

    def has_made(self, signature: bytes, text: bytes) -> bool:
        """Whether an armored signature is this key's of this text, and the key still holds."""
        expiration = self.certificate.expiration
        if self.certificate.is_revoked or (expiration and expiration <= datetime.now(UTC)):
            return False
        if not signature.startswith(_ARMORED_SIGNATURE):
            return False
        from pysequoia import Sig, verify

        try:
            parsed = Sig.from_bytes(signature)
            return bool(
                verify(bytes=text, store=lambda _: [self.certificate], signature=parsed).valid_sigs
            )
        except RuntimeError:  # any reason why it does not verify
            return False


def _first_line(error: RuntimeError) -> str:
    """Without the backtrace that follows."""
    return str(error).partition("\n")[0]
