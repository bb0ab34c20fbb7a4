"""Token authentication, version 2: an HMAC over the time, good for thirty seconds around it.

Source: Gitaly, auth/token.go and internal/gitaly/server/auth/auth.go.
"""

import binascii
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from gitaly.errors import NodeError, PermissionDenied, Unauthenticated
from gitaly.token import signature

VALIDITY_SECONDS: Final = 30
NUMBER: Final = re.compile(r"[+-]?0*([0-9]+)", re.ASCII)
INT64: Final = range(-(2**63), 2**63)
STATUSES: Final = (
    "server disabled authentication",
    "ok",
    "would be ok",
    "unauthenticated",
    "denied",
    "invalid",
)
MOST_DIGITS: Final = 19  # of an INT64; Python itself refuses to read thousands of them


class WrongToken(PermissionDenied):
    """The token was understood and is not good; `reason` is a label of a metric."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"permission denied: {text or reason}")
        self.reason = reason


def check_token(header: str | None, secret: bytes, now: float) -> None:
    """Accept a header or raise Unauthenticated (nothing to judge) or PermissionDenied."""
    version, given, stamp = _parts(header)
    if version != "v2":
        raise PermissionDenied("permission denied: invalid token version")
    if not hmac.compare_digest(given, signature(secret, stamp)):
        raise WrongToken("wrong hmac signature")
    issued = _seconds(stamp)
    if issued + VALIDITY_SECONDS < now:
        raise WrongToken("token has expired")
    if issued - VALIDITY_SECONDS > now:
        raise WrongToken("token's validity window is in future")


def _parts(header: str | None) -> tuple[str, bytes, str]:
    scheme, _, token = (header or "").partition(" ")
    parts = token.split(".", 2)
    if scheme.lower() != "bearer" or len(parts) != 3:
        raise Unauthenticated("authentication required")
    version, given, stamp = parts
    try:
        return version, binascii.unhexlify(given), stamp  # bytes.fromhex would skip white space
    except ValueError:
        raise Unauthenticated("authentication required") from None


def _seconds(stamp: str) -> int:
    number = NUMBER.fullmatch(stamp)
    if number is None:
        why = "invalid syntax"
    elif len(number[1]) > MOST_DIGITS or int(stamp) not in INT64:
        why = "value out of range"
    else:
        return int(stamp)
    text = f'cannot parse timestamp: strconv.ParseInt: parsing "{stamp}": {why}'
    raise WrongToken("cannot parse timestamp", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthPolicy:
    """Who is let in."""

    secret: bytes = b""  # empty: everybody
    transitioning: bool = False  # judge and count, but let everybody in


class Authenticator:
    """Judges the header of each call and counts the verdicts, with Gitaly's label values."""

    def __init__(
        self, policy: AuthPolicy, registry: CollectorRegistry, clock: Callable[[], float]
    ) -> None:
        self._clock = clock  # seconds since 1970
        self._counter = Counter(
            "gitaly_authentications_total",
            "Counts of of Gitaly request authentication attempts",
            ["enforced", "status"],
            registry=registry,
        )
        self._errors = Counter(
            "gitaly_authentication_errors_total",
            "Counts of of Gitaly request authentication errors",
            ["version", "error"],
            registry=registry,
        )
        self.adopt(policy)

    def adopt(self, policy: AuthPolicy) -> None:
        """Judge by another policy from the next call on."""
        self._policy = policy
        enforced = "false" if policy.transitioning else "true"
        self._verdicts = {status: self._counter.labels(enforced, status) for status in STATUSES}

    def check(self, header: str | None) -> None:
        """Let a call in, or raise; raises nothing while transitioning."""
        if not self._policy.secret:
            self._verdicts["server disabled authentication"].inc()
            return
        try:
            check_token(header, self._policy.secret, self._clock())
        except NodeError as error:
            self._count(error)
            if not self._policy.transitioning:
                raise
        else:
            self._verdicts["would be ok" if self._policy.transitioning else "ok"].inc()

    def _count(self, error: NodeError) -> None:
        if isinstance(error, WrongToken):
            self._errors.labels("v2", error.reason).inc()
        refused = isinstance(error, PermissionDenied)
        self._verdicts["denied" if refused else "unauthenticated"].inc()
