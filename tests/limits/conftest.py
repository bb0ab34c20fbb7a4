from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from gitaly.limits import Limiter, LimitMetrics, Rule

RPC = "/gitaly.RefService/ListRefs"
LABELS = {"system": "gitaly", "grpc_service": "gitaly.RefService", "grpc_method": "ListRefs"}

Limit = Callable[..., Limiter]


class Metrics:
    """A registry, and what it says of the limit of one method."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.limits = LimitMetrics(self.registry, [0.1, 1.0])

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def of_method(self, name: str, **more: str) -> float | None:
        return self.value(name, **LABELS, **more)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def limit(metrics: Metrics) -> Limit:
    def make(concurrency: int, places: int = 0, wait: float = 0.0, shadow: bool = False) -> Limiter:
        rule = Rule(
            concurrency=concurrency, queue_size=places, queue_wait_seconds=wait, shadow=shadow
        )
        return Limiter(rule, metrics.limits.per_rpc(RPC, authenticated=True))

    return make
