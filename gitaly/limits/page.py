"""What a node's metrics page says about calls and their limits."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the calls of one method have cost since the node started."""

    calls: float
    seconds: float  # all of them together, from their start to their end
    cpu_seconds: float  # of their git children


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """How one limit was met since the node started."""

    most_wanted: int  # calls at once for one key
    shadow_queued: float
    shadow_dropped: float
    dropped: float
    waited_long: float  # the share of calls that waited longer than a second


class Page:
    """A page in Prometheus' text format. Raises ValueError if it is not one."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    @property
    def started(self) -> float:
        """When the node started, in seconds since 1970; 0 if the page doesn't say."""
        return self._sum("process_start_time_seconds")

    def methods(self) -> set[str]:
        """The paths of all methods that git has worked for, "/gitaly.Service/Method"."""
        return {
            f"/{labels['grpc_service']}/{labels['grpc_method']}"
            for name, labels, _ in self._samples
            if name == "gitaly_command_cpu_seconds_total" and labels["grpc_service"]
        }

    def spent(self, rpc: str) -> Spent:
        """The calls of a method."""
        labels = _labels(rpc)
        return Spent(
            calls=self._sum("grpc_server_handled_total", **labels),
            seconds=self._sum("grpc_server_handling_seconds_sum", **labels),
            cpu_seconds=self._sum("gitaly_command_cpu_seconds_total", **labels),
        )

    def met(self, rpc: str, name: str) -> Met:
        """The limit of a method; `name` as in gitaly_limit_most_wanted."""
        labels = _labels(rpc)
        return Met(
            most_wanted=int(self._sum("gitaly_limit_most_wanted", limit=name)),
            shadow_queued=self._sum("gitaly_limit_shadow_queued_total", limit=name),
            shadow_dropped=self._sum("gitaly_limit_shadow_dropped_total", limit=name),
            dropped=self._sum("gitaly_requests_dropped_total", **labels),
            waited_long=self._share_above(
                "gitaly_concurrency_limiting_acquiring_seconds", 1.0, **labels
            ),
        )

    def _share_above(self, histogram: str, bound: float, **labels: str) -> float:
        """Above the smallest bucket that holds the bound."""
        count = self._sum(f"{histogram}_count", **labels)
        if not count:
            return 0.0
        edges = [
            (float(found["le"]), value)
            for found, value in self._named(f"{histogram}_bucket", labels)
            if float(found["le"]) >= bound
        ]
        return 1 - min(edges, default=(bound, count))[1] / count

    def _sum(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self._named(name, labels))

    def _named(self, name: str, labels: dict[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        for found, its_labels, value in self._samples:
            if found == name and labels.items() <= its_labels.items():
                yield its_labels, value


def _labels(rpc: str) -> dict[str, str]:
    service, _, method = rpc.removeprefix("/").partition("/")
    return {"grpc_service": service, "grpc_method": method}
