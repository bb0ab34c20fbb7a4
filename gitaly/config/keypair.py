"""Whether a certificate and a key belong together, before a listener depends on it."""

import re
import tempfile
from typing import Final

from gitaly.config.errors import Problem
from gitaly.config.go_text import reason

BLOCK: Final = re.compile(rb"^-----BEGIN ([^\n-]+)-----\s*?\n.*?^-----END \1-----", re.M | re.S)

# What OpenSSL's codes mean, in the words of the original.
REASONS: Final = {
    "KEY_VALUES_MISMATCH": "tls: private key does not match public key",
    "KEY_TYPE_MISMATCH": "tls: private key type does not match public key type",
    "NO_CERTIFICATE_ASSIGNED": "tls: private key type does not match public key type",
}


def keypair_problem(certificate_path: str, key_path: str, key: str) -> Problem | None:
    """What is wrong with a pair of PEM texts; `key` wins over `key_path` if it is set."""
    key_name = "key" if key else "key_path"
    try:
        certificate_pem = _content(certificate_path)
    except OSError as error:
        text = f"open {certificate_path}: {reason(error)}"
        if key:
            return Problem(("certificate_path",), f"reading certificate_path: {text}")
        return Problem((key_name,), f"loading x509 keypair: {text}")
    try:
        key_pem = key.encode() if key else _content(key_path)
    except OSError as error:
        return Problem((key_name,), f"loading x509 keypair: open {key_path}: {reason(error)}")
    if detail := _certificate_problem(certificate_pem):
        return Problem(("certificate_path",), f"loading x509 keypair: {detail}")
    if detail := _key_problem(key_pem) or _pair_problem(certificate_pem, key_pem):
        return Problem((key_name,), f"loading x509 keypair: {detail}")
    return None


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _certificate_problem(pem: bytes) -> str | None:
    blocks = _block_types(pem)
    if "CERTIFICATE" in blocks:
        return None
    if not blocks:
        return "tls: failed to find any PEM data in certificate input"
    if len(blocks) == 1 and blocks[0].endswith("PRIVATE KEY"):
        return (
            "tls: failed to find certificate PEM data in certificate input, "
            "but did find a private key; PEM inputs may have been switched"
        )
    return (
        'tls: failed to find "CERTIFICATE" PEM block in certificate input '
        f"after skipping PEM blocks of the following types: [{' '.join(blocks)}]"
    )


def _key_problem(pem: bytes) -> str | None:
    blocks = _block_types(pem)
    if any(block.endswith("PRIVATE KEY") for block in blocks):
        return None
    if not blocks:
        return "tls: failed to find any PEM data in key input"
    if blocks == ["CERTIFICATE"]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return (
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input '
        f"after skipping PEM blocks of the following types: [{' '.join(blocks)}]"
    )


def _pair_problem(certificate_pem: bytes, key_pem: bytes) -> str | None:
    import ssl  # costs 10 ms, and most nodes have no certificate

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=certificate_pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        return "x509: malformed certificate"
    with tempfile.NamedTemporaryFile() as file:  # OpenSSL reads files only; mode 0600
        file.write(certificate_pem + b"\n" + key_pem)
        file.flush()
        try:
            context.load_cert_chain(file.name, password=_no_password)
        except ssl.SSLError as error:
            return REASONS.get(error.reason or "", "tls: failed to parse private key")
    return None


def _no_password() -> str:
    return ""  # an encrypted key must not make OpenSSL ask at the terminal


def _block_types(pem: bytes) -> list[str]:
    return [block[1].decode("utf-8", "replace") for block in BLOCK.finditer(pem)]
