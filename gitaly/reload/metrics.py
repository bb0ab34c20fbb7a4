"""What Prometheus learns of reloads. These series are this node's own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReloadMetrics:
    """How reloads end, when the last good one was, and whether a restart is missing."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        """`clock`: seconds since 1970. The configuration of the start counts as a good one."""
        self._clock = clock
        reloads = Counter(
            "gitaly_config_reloads_total",
            "Configurations read again, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self._applied, self._refused = reloads.labels("applied"), reloads.labels("refused")
        self._successful = Gauge(
            "gitaly_config_last_reload_successful",
            "1 unless the last configuration that was read again was refused",
            registry=registry,
        )
        self._time = Gauge(
            "gitaly_config_last_reload_success_timestamp_seconds",
            "When the configuration in force came into force, in seconds since 1970",
            registry=registry,
        )
        self._waiting = Gauge(
            "gitaly_config_keys_waiting_for_restart",
            "Keys of the file, as it was read last, that count only after a restart",
            registry=registry,
        )
        self._successful.set(1)
        self._time.set(clock())

    def applied(self, waiting: int) -> None:
        """A configuration is in force; so many keys of its file are not."""
        self._applied.inc()
        self._successful.set(1)
        self._time.set(self._clock())
        self._waiting.set(waiting)

    def refused(self) -> None:
        """A configuration was refused as a whole."""
        self._refused.inc()
        self._successful.set(0)
