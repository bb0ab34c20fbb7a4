"""The certificate of a node's TLS listener: loaded, told of, and replaced while the node runs."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from gitaly.config import Config
from gitaly.observe.log import Logger
from gitaly.reload import Step
from gitaly.tls import Identity, UnusableCertificate, exposure, server_identity, utc
from gitaly.transport.listener import Listener

EXPIRED: Final = "the TLS certificate is refused by every client"
EXPIRES_SOON: Final = "the TLS certificate expires soon"


class ServedCertificate:
    """Nothing, where there is no TLS listener."""

    keys = ("tls.*",)

    def __init__(
        self,
        config: Config,
        registry: CollectorRegistry,
        logger: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises UnusableCertificate. `clock`: seconds since 1970."""
        self.identity: Identity | None = None
        self._logger = logger
        self._clock = clock
        self._listeners: Sequence[Listener] = ()
        self._expiry: Gauge | None = None
        self.address = config.tls_listen_addr
        if not config.tls_listen_addr:
            return
        gauge = Gauge(
            "gitaly_tls_certificate_expiry_timestamp_seconds",
            "When the first certificate of the chain that is served expires, since 1970",
            ["address"],
            registry=registry,
        )
        self._expiry = gauge.labels(config.tls_listen_addr)
        self._show(server_identity(config.tls))
        self._warn(config)

    def is_served_by(self, listeners: Sequence[Listener]) -> None:
        """Whom to give the next one to."""
        self._listeners = listeners

    def prepare(self, config: Config, running: Config) -> Step:
        """Raises UnusableCertificate, also for a new certificate that every client refuses."""
        if self.identity is None:
            return Step(commit=_nothing)
        found = server_identity(config.tls)
        if found.fingerprints == self.identity.fingerprints:
            return Step(commit=lambda: self._give(found))
        trouble = found.trouble(self._clock())
        if trouble is not None:
            raise UnusableCertificate(f"tls.certificate_path: {trouble}")

        def commit() -> None:
            self._give(found)
            self._show(found)
            self._warn(config)

        same_path = config.tls.certificate_path == running.tls.certificate_path
        return Step(
            commit=commit,
            contents=["tls.certificate_path (content)"] if same_path else [],
            fields=_fields(found),
        )

    def _give(self, identity: Identity) -> None:
        for listener in self._listeners:
            listener.adopt(identity.context)

    def _show(self, identity: Identity) -> None:
        self.identity = identity
        if self._expiry is not None and identity.first_to_expire is not None:
            self._expiry.set(identity.first_to_expire.not_after)

    def _warn(self, config: Config) -> None:
        """Of what an operator has to do something about."""
        assert self.identity is not None
        now = self._clock()
        trouble = self.identity.trouble(now)
        if trouble is not None:
            self._logger.error(EXPIRED, error=trouble)
        elif self.identity.expires_soon(now):
            self._logger.warning(EXPIRES_SOON, **_fields(self.identity))
        exposed = exposure(config.tls)
        if exposed is not None:
            self._logger.warning("the key of the TLS certificate is not protected", error=exposed)


def _fields(identity: Identity) -> dict[str, object]:
    first = identity.first_to_expire
    if first is None:
        return {}
    return {"certificate": identity.name, "certificate_expires": utc(first.not_after)}


def _nothing() -> None:
    """There is no listener that needs a certificate."""
