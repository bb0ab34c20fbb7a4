"""Bearer tokens, version 2: an HMAC over the time, good for thirty seconds around it.

There is no nonce in them: within its time a token is good for any number of calls.
Source: Gitaly, auth/token.go.
"""

import binascii
import hmac
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from gitaly.errors import PermissionDenied, Unauthenticated
from gitaly.token import signature

VALIDITY_SECONDS: Final = 30
MOST_CHARACTERS: Final = 16 * 1024  # of a header; what is longer is not worth a signature
NUMBER: Final = re.compile(r"[+-]?0*([0-9]+)", re.ASCII)
INT64: Final = range(-(2**63), 2**63)
MOST_DIGITS: Final = 19  # of an INT64; Python itself refuses to read thousands of them


class Reason(StrEnum):
    """Why a header is not good; the values are labels of a metric and words of the log."""

    NO_TOKEN = "no token"  # noqa: S105 - a word of the log, as those below
    MALFORMED = "malformed"  # not "Bearer VERSION.HEX.TIME", or absurdly long
    UNKNOWN_VERSION = "unknown version"
    WRONG_SECRET = "wrong secret"  # noqa: S105
    WITHDRAWN = "withdrawn secret"  # it was good before the last changes of the tokens
    EMPTY_SECRET = "empty secret"  # noqa: S105 - what clients send that were given no token
    UNREADABLE_TIME = "unreadable time"
    EXPIRED = "expired"
    FROM_FUTURE = "from the future"


class NoToken(Unauthenticated):
    """There is nothing to judge."""

    def __init__(self, reason: Reason) -> None:
        super().__init__("authentication required", reason=str(reason))
        self.reason = reason


class WrongToken(PermissionDenied):
    """The token was understood and is not good.

    `clock_skew_seconds`: how far the caller's clock is ahead, for a signed time only.
    """

    def __init__(self, reason: Reason, text: str, clock_skew_seconds: float | None = None) -> None:
        measured = {} if clock_skew_seconds is None else {"clock_skew_seconds": clock_skew_seconds}
        super().__init__(f"permission denied: {text}", reason=str(reason), **measured)
        self.reason = reason
        self.clock_skew_seconds = clock_skew_seconds


Refusal = NoToken | WrongToken


def check_token(
    header: str | None,
    secrets: Sequence[bytes],
    now: float,
    withdrawn: Sequence[bytes] = (),
) -> int:
    """Which of the secrets has signed a header, by its place.

    Raises NoToken, WrongToken. A secret that is withdrawn is as good as none, but known by name.
    """
    version, given, stamp = _parts(header)
    if version != "v2":
        raise WrongToken(Reason.UNKNOWN_VERSION, "invalid token version")
    place = _signer(secrets, given, stamp)
    if place is None:
        reason = Reason.WRONG_SECRET
        if _signer(withdrawn, given, stamp) is not None:
            reason = Reason.WITHDRAWN
        elif _signer((b"",), given, stamp) is not None:
            reason = Reason.EMPTY_SECRET
        raise WrongToken(reason, "wrong hmac signature")
    _check_time(stamp, now)
    return place


def _signer(secrets: Sequence[bytes], given: bytes, stamp: str) -> int | None:
    for place, secret in enumerate(secrets):
        if hmac.compare_digest(given, signature(secret, stamp)):
            return place
    return None


def _parts(header: str | None) -> tuple[str, bytes, str]:
    if not header:
        raise NoToken(Reason.NO_TOKEN)
    scheme, _, token = header.partition(" ")
    parts = token.split(".", 2)
    if scheme.lower() != "bearer" or len(parts) != 3 or len(header) > MOST_CHARACTERS:
        raise NoToken(Reason.MALFORMED)
    version, given, stamp = parts
    try:
        return version, binascii.unhexlify(given), stamp  # bytes.fromhex would skip white space
    except ValueError:
        raise NoToken(Reason.MALFORMED) from None


def _check_time(stamp: str, now: float) -> None:
    issued = _seconds(stamp)
    skew = round(issued - now, 3)
    if issued + VALIDITY_SECONDS < now:
        raise WrongToken(Reason.EXPIRED, "token has expired", skew)
    if issued - VALIDITY_SECONDS > now:
        raise WrongToken(Reason.FROM_FUTURE, "token's validity window is in future", skew)


def _seconds(stamp: str) -> int:
    number = NUMBER.fullmatch(stamp)
    if number is None:
        why = "invalid syntax"
    elif len(number[1]) > MOST_DIGITS or int(stamp) not in INT64:
        why = "value out of range"
    else:
        return int(stamp)
    text = f'cannot parse timestamp: strconv.ParseInt: parsing "{stamp}": {why}'
    raise WrongToken(Reason.UNREADABLE_TIME, text)
