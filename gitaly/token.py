"""What a caller says to be let in: to a node, and to GitLab's internal API.

Here, and not with those who check or send it, because programs of a few milliseconds do so too.
"""

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Iterable
from typing import Final

GITLAB_ISSUER: Final = "gitlab-shell"
GITLAB_SECONDS: Final = 60
# Slow on purpose: whoever reads a fingerprint shall not try passwords faster than at the node.
FINGERPRINT_ROUNDS: Final = 20_000
FINGERPRINT_BYTES: Final = 2

# What `gitaly auth test` sends along, and how a node of ours answers beside its answer.
TEST_KEY: Final = "gitaly-auth-test"
MODE_KEY: Final = "gitaly-auth-mode"  # "off", "transitioning", "enforced"
VERDICT_KEY: Final = "gitaly-auth-verdict"  # "ok", or the reason of a refusal
TIME_KEY: Final = "gitaly-auth-time"  # seconds since 1970, by the node's clock


def make_token(secret: bytes, now: float) -> str:
    """The value of an `authorization` header that is good around now (seconds since 1970).

    Version 2, an HMAC over the time. Source: Gitaly, auth/token.go.
    """
    stamp = str(int(now))
    return f"Bearer v2.{signature(secret, stamp).hex()}.{stamp}"


def signature(secret: bytes, stamp: str) -> bytes:
    """What the holder of the secret says of a time, given as it is sent."""
    return hmac.digest(secret, stamp.encode(), "sha256")


def fingerprints(secrets: Iterable[bytes], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """What secrets are called where everybody reads: in logs, metrics and answers to operators.

    Four hexadecimal digits, the same at all nodes; one that is taken already gets a number behind.
    Takes about 5 ms for each.
    """
    names = [*taken]
    known = len(names)
    for secret in secrets:
        name = _fingerprint(secret)
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        names.append(name if name not in names else next(n for n in numbered if n not in names))
    return tuple(names[known:])


def _fingerprint(secret: bytes) -> str:
    salt = b"fingerprint of a token"
    return hashlib.pbkdf2_hmac("sha256", secret, salt, FINGERPRINT_ROUNDS, FINGERPRINT_BYTES).hex()


def gitlab_token(secret: bytes, now: int) -> str:
    """A JSON web token, HS256, good for a minute from `now` (seconds since 1970).

    Source: RFC 7519; Gitaly, internal/gitlab/client/gitlabnet.go.
    """
    claims = {"iss": GITLAB_ISSUER, "exp": now + GITLAB_SECONDS, "iat": now}
    header = _base64url(b'{"alg":"HS256","typ":"JWT"}')
    signed = header + b"." + _base64url(json.dumps(claims, separators=(",", ":")).encode())
    return (signed + b"." + _base64url(hmac.digest(secret, signed, "sha256"))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
