"""What a caller says to be let in, version 2: an HMAC over the time. Source: Gitaly, auth/token.go.

Here, and not with those who check it, because programs of a few milliseconds make tokens too.
"""

import hmac


def make_token(secret: bytes, now: float) -> str:
    """The value of an `authorization` header that is good around now (seconds since 1970)."""
    stamp = str(int(now))
    return f"Bearer v2.{signature(secret, stamp).hex()}.{stamp}"


def signature(secret: bytes, stamp: str) -> bytes:
    """What the holder of the secret says of a time, given as it is sent."""
    return hmac.digest(secret, stamp.encode(), "sha256")
