"""What a node's metrics endpoint says, as Prometheus reads it."""

import urllib.request
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.node_process import free_port


@dataclass
class MetricsPage:
    """The endpoint of one node, which must be configured with `configuration`."""

    port: int = field(default_factory=free_port)

    @property
    def configuration(self) -> str:
        return f'prometheus_listen_addr = "127.0.0.1:{self.port}"\n'

    def text(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=20) as answer:
            page: bytes = answer.read()
        return page.decode()

    def reading(self) -> "Reading":
        """What it says now."""
        return Reading(self.text())

    def sum(self, name: str, **labels: str) -> float:
        """All series of a name that have these labels, now."""
        return self.reading().sum(name, **labels)


class Reading:
    """What a page said at a moment."""

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def families(self) -> list[Metric]:
        """Everything; it takes long to read."""
        return list(text_string_to_metric_families(self._text))

    def sum(self, name: str, **labels: str) -> float:
        """All series of a name that have these labels."""
        lines = [line for line in self._text.splitlines(keepends=True) if line.startswith(name)]
        found = 0.0
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    found += sample.value
        return found
