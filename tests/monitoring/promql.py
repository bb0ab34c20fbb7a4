"""The names in an expression of PromQL: enough of its grammar to hold them against a list."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tests.monitoring.names import Description

KEYWORDS: Final = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"}
    | {"and", "or", "unless"}
)
OF_EVERY_SERIES: Final = frozenset({"instance", "job", "le"})
OF_HISTOGRAMS: Final = ("_bucket", "_sum", "_count")
STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
SELECTOR: Final = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
WORD: Final = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)\b(?!\s*\()")
RANGE: Final = re.compile(r"\[[^\]]*\]")


def metrics_in(expression: str) -> set[str]:
    """Names of series: what is neither a function, a keyword, a label nor a string."""
    text = STRING.sub('""', expression)
    text = GROUPING.sub(" ", RANGE.sub(" ", text))
    text = re.sub(r"\{[^}]*\}", " ", text)
    return {word for word in WORD.findall(text) if word not in KEYWORDS}


def labels_in(expression: str) -> Iterator[tuple[str, str]]:
    """Each label with the metric that it selects of; an empty one for groupings."""
    text = STRING.sub('""', expression)
    for name, inside in SELECTOR.findall(text):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside):
            yield name, label
    for inside in GROUPING.findall(text):
        for label in re.findall(r"\w+", inside):
            yield "", label


def family_of(series: str, known: Mapping[str, Description]) -> str:
    """The metric that a series belongs to; empty if there is none."""
    if series in known:
        return series
    for ending in OF_HISTOGRAMS:
        base = series.removesuffix(ending)
        if base != series and known.get(base, ("",))[0] == "histogram":
            return base
    return ""


def labels_of(expression: str, known: Mapping[str, Description]) -> set[str]:
    """The labels of what an expression of known metrics gives."""
    grouped = {label for name, label in labels_in(expression) if not name}
    families = [family_of(name, known) for name in metrics_in(expression)]
    return grouped or {label for family in families for label in known[family][1:]}


def faults(expression: str, known: Mapping[str, Description], legend: str = "") -> list[str]:
    """What an expression, and the legend of its series, name that no node has."""
    series = {name: family_of(name, known) for name in metrics_in(expression)}
    found = [f"no metric {name}" for name, family in sorted(series.items()) if not family]
    has = {
        name: {*known[family][1:], *OF_EVERY_SERIES} for name, family in series.items() if family
    }
    any_of = OF_EVERY_SERIES.union(*has.values())
    found += [
        f"no label {label} of {name or 'these'}"
        for name, label in labels_in(expression)
        if label not in has.get(name, any_of)
    ]
    shown = re.findall(r"\{\{\s*(\w+)\s*\}\}", legend)
    return found + [f"no label {label} for the legend" for label in shown if label not in any_of]
