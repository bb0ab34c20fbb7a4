"""What a certificate says of itself: from when to when it is good, and whose it is.

Only what operators ask for is read, and nothing is verified: that is the business of clients.
Source: RFC 5280, section 4.1; X.690 for the encoding.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

BLOCK: Final = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL
)
SEQUENCE: Final = 0x30
EXTENSIONS: Final = 0xA3
VERSION: Final = 0xA0
OCTETS: Final = 0x04
UTC_TIME: Final = 0x17  # two digits for the year: before 2050
GENERALIZED_TIME: Final = 0x18
DNS_NAME: Final = 0x82
IP_ADDRESS: Final = 0x87
COMMON_NAME: Final = bytes.fromhex("0603550403")
ALTERNATIVE_NAMES: Final = bytes.fromhex("0603551d11")


class BadCertificate(ValueError):
    """Not a certificate that anybody can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. Times are seconds since 1970."""

    not_before: int
    not_after: int
    common_name: str  # empty: it has none
    names: tuple[str, ...]  # that clients may use for the server: of hosts, and addresses
    fingerprint: str  # SHA-256, in hexadecimal digits

    @property
    def name(self) -> str:
        """How to call it in a line of text."""
        return ", ".join(self.names) or self.common_name or self.fingerprint[:16]


def certificates_of(pem: bytes) -> list[Certificate]:
    """Those of a PEM text, in its order: the server's own first. Raises BadCertificate."""
    found = []
    for block in BLOCK.finditer(pem):
        try:
            der = base64.b64decode(block[1])
            found.append(_parsed(der))
        except (binascii.Error, ValueError, IndexError, StopIteration) as error:
            raise BadCertificate("x509: malformed certificate") from error
    return found


class _Value(NamedTuple):
    tag: int
    whole: bytes  # with tag and length
    content: bytes


def _values(data: bytes) -> Iterator[_Value]:
    """The values that stand one after the other. Raises IndexError, ValueError."""
    place = 0
    while place < len(data):
        length, start = data[place + 1], place + 2
        if length & 0x80:
            digits = length & 0x7F
            length = int.from_bytes(data[start : start + digits], "big")
            start += digits
        end = start + length
        if end > len(data):
            raise ValueError("a value is cut off")
        yield _Value(data[place], data[place:end], data[start:end])
        place = end


def _parsed(der: bytes) -> Certificate:
    certificate, *_ = _values(der)  # behind it a TRUSTED one says what for
    signed, *_ = _values(certificate.content)
    fields = list(_values(signed.content))
    if fields[0].tag == VERSION:
        del fields[0]
    _, _, _, validity, subject, *rest = fields  # serial number, algorithm, issuer before them
    not_before, not_after = (_seconds(time) for time in _values(validity.content))
    extensions = [value for value in rest if value.tag == EXTENSIONS]
    return Certificate(
        not_before=not_before,
        not_after=not_after,
        common_name=next(_common_names(subject), ""),
        names=tuple(name for value in extensions for name in _alternative_names(value)),
        fingerprint=hashlib.sha256(der).hexdigest(),
    )


def _seconds(time: _Value) -> int:
    text = time.content.decode("ascii")
    if time.tag == UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    elif time.tag != GENERALIZED_TIME:
        raise ValueError("not a time")
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _common_names(subject: _Value) -> Iterator[str]:
    for relative in _values(subject.content):
        for pair in _values(relative.content):
            kind, value = _values(pair.content)
            if kind.whole == COMMON_NAME:
                yield value.content.decode("utf-8", "replace")


def _alternative_names(extensions: _Value) -> Iterator[str]:
    (everything,) = _values(extensions.content)
    for extension in _values(everything.content):
        kind, *_, value = _values(extension.content)
        if kind.whole != ALTERNATIVE_NAMES or value.tag != OCTETS:
            continue
        (names,) = _values(value.content)
        for name in _values(names.content):
            if name.tag == DNS_NAME:
                yield name.content.decode("ascii", "replace")
            elif name.tag == IP_ADDRESS:
                yield str(ipaddress.ip_address(name.content))
