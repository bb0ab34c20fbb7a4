"""Which token was used last, and when: what says that an old one can be withdrawn."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class TokenUse:
    """One token while the process lives, also after it was withdrawn."""

    __slots__ = ("fingerprint", "last_used", "secret", "uses")

    def __init__(self, secret: bytes, fingerprint: str) -> None:
        self.secret = secret
        self.fingerprint = fingerprint
        self.uses = 0
        self.last_used = 0.0  # seconds since 1970; 0: never

    def __repr__(self) -> str:
        return f"TokenUse({self.fingerprint!r}, uses={self.uses})"

    def note(self, now: float) -> None:
        """A call that was signed with it was let in."""
        self.uses += 1
        self.last_used = now


class TokenUses(Collector):
    """The tokens that are valid now, as Prometheus reads them; tokens by their fingerprints."""

    def __init__(
        self, current: Callable[[], Sequence[TokenUse]], is_enforced: Callable[[], bool]
    ) -> None:
        self._current = current
        self._is_enforced = is_enforced

    def collect(self) -> Iterator[Metric]:
        uses = CounterMetricFamily(
            "gitaly_authentication_token_uses",
            "Calls that were signed with a token that is valid",
            labels=["token"],
        )
        last_used = GaugeMetricFamily(
            "gitaly_authentication_token_last_used_timestamp_seconds",
            "When a valid token was last used, in seconds since 1970; 0: not since the start",
            labels=["token", "position"],
        )
        for position, use in enumerate(self._current(), 1):
            uses.add_metric([use.fingerprint], use.uses)
            last_used.add_metric([use.fingerprint, str(position)], use.last_used)
        yield uses
        yield last_used
        yield GaugeMetricFamily(
            "gitaly_authentication_enforced",
            "1 if calls without a valid token are refused",
            value=self._is_enforced(),
        )
