"""Checks of the certificate that a TLS listener shows, and of the file of its key."""

import time
from collections.abc import Iterator

from gitaly.cli.checks import Check, CheckFailed, Found, Subject
from gitaly.config import TLSConfig
from gitaly.tls import DAY_SECONDS, Identity, exposure, server_identity, utc

RENEW = "renew it, put the files in place, and send the node a SIGHUP"
PAIR = (
    "let tls.certificate_path hold the node's own certificate first, then those that vouch for it,"
    " and tls.key_path the key of the first one, not encrypted"
)


def tls_checks(subject: Subject) -> Iterator[Check]:
    """Only where the node listens with TLS."""
    tls = subject.config.tls
    if not subject.config.tls_listen_addr:
        return
    yield Check("TLS certificate", lambda: _certificate(tls), PAIR)
    if tls.key_path and not tls.key:
        yield Check("TLS key", lambda: _key(tls))


def _certificate(tls: TLSConfig) -> Found:
    identity, now = server_identity(tls), time.time()
    trouble = identity.trouble(now)
    if trouble is not None:
        raise CheckFailed(f"every client refuses it: {trouble}", RENEW)
    what = f"{identity.name}, {_remaining(identity, now)}, {len(identity.chain)} in the chain"
    if identity.expires_now(now):
        raise CheckFailed(what, RENEW)
    if identity.expires_soon(now):
        return Found(what, warning=RENEW)
    return Found(what)


def _remaining(identity: Identity, now: float) -> str:
    first = identity.first_to_expire
    if first is None:
        return "without a date"
    left = first.not_after - now
    many = f"{left / DAY_SECONDS:.0f} days" if left >= 2 * DAY_SECONDS else f"{left / 3600:.0f} h"
    return f"expires {utc(first.not_after)}, {many} left"


def _key(tls: TLSConfig) -> Found:
    exposed = exposure(tls)
    if exposed is None:
        return Found(tls.key_path)
    return Found(exposed, warning=f"chmod 600 {tls.key_path}")
