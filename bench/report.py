"""How a measurement is shown: its figure, the limit of the same run, and the ratio that counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table. Without a `base` the value itself must keep to the limit."""

    name: str
    value: float
    unit: str
    base: float | None
    limit: float
    base_name: str
    higher_is_better: bool = False
    ratio: float | None = None  # where it is not just value/base: the median of pairs
    cpu_ms: float | None = None  # of the node and its children, for one call; for the reader only

    @property
    def measure(self) -> float:
        if self.ratio is not None:
            return self.ratio
        return self.value if self.base is None else self.value / self.base

    @property
    def holds(self) -> bool:
        if self.higher_is_better:
            return self.measure >= self.limit
        return self.measure <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.higher_is_better else "≤"
        shown = f"{self.name:44} {self.value:9.2f} {self.unit:8}"
        if self.base is None:
            shown += f"{'':34} {sign} {self.limit:g} {self.unit}"
        else:
            shown += (
                f"{self.base:9.2f} {self.base_name:14} {self.measure:5.2f} x {sign} {self.limit:g}"
            )
        if self.cpu_ms is not None:
            shown += f"  {self.cpu_ms:6.2f} ms CPU"
        return f"{shown}  {'ok' if self.holds else 'MISSED'}"
