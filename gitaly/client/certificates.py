"""Whether a node's certificate is trusted, and for how long: asked without sending anything."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gitaly.client.address import Address

SEQUENCE: Final = 0x30
VERSION: Final = 0xA0
UTC_TIME: Final = 0x17


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What a TLS server shows."""

    distrust: str  # why its chain is not trusted; empty: it is
    protocol: str  # "TLSv1.3"
    not_after: datetime | None  # the end of its own certificate; None: it cannot be read


class SilentPeer(TimeoutError):
    """Somebody has accepted the connection, and says nothing."""


def tls_reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, in words, without places in somebody's sources."""
    words = (error.reason or error.strerror or str(error)).replace("_", " ").lower()
    if error.reason == "WRONG_VERSION_NUMBER":
        return f"{words}: no TLS is spoken there; is it the port of listen_addr?"
    return words


async def presented_by(address: Address, seconds: float) -> Presented:
    """Shake hands, once more without verification if need be.

    `seconds`: for each address of the host to connect, and for each handshake. Trust comes from
    where `dial` takes it: SSL_CERT_FILE and SSL_CERT_DIR, else the system.
    Raises OSError: SilentPeer for a handshake that takes longer, TimeoutError for a connection.
    """
    return await asyncio.to_thread(_presented, address, seconds)


def _presented(address: Address, seconds: float) -> Presented:
    context = ssl.create_default_context()
    try:
        return _shake_hands(address, context, "", seconds)
    except ssl.SSLCertVerificationError as error:
        distrust = error.verify_message
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE  # to read the certificate; nothing is sent to its owner
    return _shake_hands(address, careless, distrust, seconds)


def _shake_hands(
    address: Address, context: ssl.SSLContext, distrust: str, seconds: float
) -> Presented:
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((address.host, address.port), seconds) as plain:
        try:
            secured = context.wrap_socket(plain, server_hostname=address.host)
        except TimeoutError as error:
            raise SilentPeer from error
    with secured:
        certificate = secured.getpeercert(binary_form=True)
        not_after = end_of(certificate) if certificate else None
        return Presented(distrust=distrust, protocol=secured.version() or "", not_after=not_after)


def end_of(certificate: bytes) -> datetime | None:
    """The notAfter of a certificate in DER; None if it cannot be found. Source: RFC 5280, 4.1.

    Python reads only certificates that it has verified; the expired ones are of interest here.
    """
    try:
        body = _children(_children(certificate)[0])
        fields = body[1:] if body[0][0] == VERSION else body
        _, end = _children(fields[3])  # after serial number, algorithm and issuer
        text = _value(end).decode("ascii").removesuffix("Z")
        if end[0] == UTC_TIME:
            text = ("19" if text >= "50" else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return None


def _children(sequence: bytes) -> list[bytes]:
    """The elements of a sequence, each with its head."""
    if sequence[0] != SEQUENCE:
        raise ValueError("not a sequence")
    rest, found = _value(sequence), []
    while rest:
        start, size = _extent(rest)
        found.append(rest[: start + size])
        rest = rest[start + size :]
    return found


def _value(element: bytes) -> bytes:
    start, size = _extent(element)
    return element[start : start + size]


def _extent(element: bytes) -> tuple[int, int]:
    """Where the value begins, and how long it is."""
    first = element[1]
    if first < 0x80:
        return 2, first
    count = first & 0x7F
    return 2 + count, int.from_bytes(element[2 : 2 + count])
