"""What a caller says to be let in: to a node, and to GitLab's internal API.

Here, and not with those who check or send it, because programs of a few milliseconds do so too.
"""

import base64
import hmac
import json
from typing import Final

GITLAB_ISSUER: Final = "gitlab-shell"
GITLAB_SECONDS: Final = 60


def make_token(secret: bytes, now: float) -> str:
    """The value of an `authorization` header that is good around now (seconds since 1970).

    Version 2, an HMAC over the time. Source: Gitaly, auth/token.go.
    """
    stamp = str(int(now))
    return f"Bearer v2.{signature(secret, stamp).hex()}.{stamp}"


def signature(secret: bytes, stamp: str) -> bytes:
    """What the holder of the secret says of a time, given as it is sent."""
    return hmac.digest(secret, stamp.encode(), "sha256")


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
