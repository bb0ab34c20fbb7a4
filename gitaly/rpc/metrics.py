"""What Prometheus learns about calls; names and labels as Gitaly's dashboards expect them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

from gitaly.rpc.call import Call
from gitaly.rpc.contract import Method
from gitaly.rpc.status import CODE_NAMES

MOST_CLIENT_SERIES: Final = 10_000  # names come from clients: they must not fill the memory


class _MethodSeries:
    """The series of one method, bound once: looking labels up costs more than counting."""

    def __init__(self, started: Counter, received: Counter, sent: Counter) -> None:
        self.started = started
        self.received = received
        self.sent = sent
        self.handled: dict[grpc.StatusCode, Counter] = {}
        self.seconds: Histogram | None = None


class RpcMetrics:
    """Counts calls. Every series of every method exists from the start, with value 0."""

    def __init__(
        self, registry: CollectorRegistry, methods: Iterable[Method], buckets: Sequence[float]
    ) -> None:
        labels = ["grpc_type", "grpc_service", "grpc_method"]

        def counter(name: str, text: str, names: Sequence[str]) -> Counter:
            return Counter(name, text, names, registry=registry)

        started = counter("grpc_server_started_total", "RPCs started on the server.", labels)
        received = counter("grpc_server_msg_received_total", "Stream messages received.", labels)
        sent = counter("grpc_server_msg_sent_total", "Stream messages sent.", labels)
        handled = counter(
            "grpc_server_handled_total", "RPCs completed on the server.", [*labels, "grpc_code"]
        )
        seconds = None
        if buckets:
            seconds = Histogram(
                "grpc_server_handling_seconds",
                "Seconds from the start of a call to its end.",
                labels,
                buckets=tuple(buckets),
                registry=registry,
            )
        self._clients = counter(
            "gitaly_service_client_requests_total",
            "Calls by client, call site and kind of deadline.",
            [
                "client_name",
                "grpc_service",
                "grpc_method",
                "call_site",
                "auth_version",
                "grpc_code",
                "deadline_type",
                "method_operation",
                "method_scope",
            ],
        )
        self._series: dict[Method, _MethodSeries] = {}
        for method in methods:
            values = (method.kind, method.service, method.name)
            series = _MethodSeries(
                started.labels(*values), received.labels(*values), sent.labels(*values)
            )
            series.handled = {c: handled.labels(*values, CODE_NAMES[c]) for c in grpc.StatusCode}
            series.seconds = seconds.labels(*values) if seconds is not None else None
            self._series[method] = series
        self._bound_clients: dict[tuple[str, ...], Counter] = {}

    def call_started(self, call: Call) -> None:
        """Count the beginning of a call."""
        self._series[call.method].started.inc()

    def call_ended(self, call: Call, client: Mapping[str, str]) -> None:
        """Count the end of a call; client: what the access log knows about the caller."""
        series = self._series[call.method]
        series.received.inc(call.received_messages)
        series.sent.inc(call.sent_messages)
        series.handled[call.outcome.code].inc()
        if series.seconds is not None:
            series.seconds.observe(call.ended - call.started)
        key = (
            client["client_name"],
            call.method.service,
            call.method.name,
            client["call_site"],
            client["auth_version"],
            CODE_NAMES[call.outcome.code],
            client["deadline_type"],
            call.method.operation,
            call.method.scope,
        )
        bound = self._bound_clients.get(key)
        if bound is None:
            bound = self._bind_client(key)
        bound.inc()

    def _bind_client(self, key: tuple[str, ...]) -> Counter:
        if len(self._bound_clients) >= MOST_CLIENT_SERIES:
            _, service, method, _, *rest = key
            return self._clients.labels("unknown", service, method, "unknown", *rest)
        return self._bound_clients.setdefault(key, self._clients.labels(*key))
