"""The metrics of a node, as names.txt lists them: name, type, labels.

    python -m tests.monitoring.names    adds to names.txt what is new

The list is a promise to those who have dashboards and alerts. Nothing leaves it, and no label is
added to or taken from a name, without a line in CHANGELOG.md; that is done by hand.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from tests.monitoring.busy_node import busy_node

LIST: Final = Path(__file__).with_name("names.txt")
OF_GROUPS: Final = ("gitaly_cgroup_", "gitaly_spawn_", "gitaly_spawner_")
OF_ANY_NODE: Final = frozenset({"gitaly_spawn_forking_time_seconds"})
Description = tuple[str, ...]  # type, then the labels in alphabetical order


def listed() -> dict[str, Description]:
    """What names.txt says."""
    lines = [line.split() for line in LIST.read_text().splitlines() if line[:1] not in ("", "#")]
    return {name: tuple(rest) for name, *rest in lines}


def needs_groups(name: str) -> bool:
    """Whether only nodes with control groups have it."""
    return name.startswith(OF_GROUPS) and name not in OF_ANY_NODE


def described(registry: CollectorRegistry) -> dict[str, Description]:
    """What a node has, whether or not a series exists already."""
    found = {}
    for family in _families(registry):
        name = f"{family[0]}_total" if family[1] == "counter" else family[0]
        found[name] = (family[1], *sorted(family[2]))
    return found


def _families(registry: CollectorRegistry) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    # Names of labels are nowhere public as long as there is no series.
    collectors: Any = registry._collector_to_names
    for collector in collectors:
        if hasattr(collector, "_labelnames"):
            yield collector._name, collector._type, collector._labelnames
        else:
            for family in collector.collect():
                labels = set(getattr(family, "_labelnames", ()))
                for sample in family.samples:
                    labels |= sample.labels.keys()
                yield family.name, family.type, tuple(labels - {"le"})  # every histogram has it


def line(name: str, description: Description) -> str:
    return " ".join((name, *description))


def complaints(promised: Mapping[str, Description], found: Mapping[str, Description]) -> list[str]:
    """What breaks the promise, or is not promised yet; each with what to do."""
    said = []
    for name in sorted(promised.keys() | found.keys()):
        if name not in found:
            said.append(f"{name} is gone: dashboards and alerts that use it show nothing")
        elif name not in promised:
            said.append(f"{name} is new: add it with python -m tests.monitoring.names")
        elif promised[name] != found[name]:
            was, now = " ".join(promised[name]), " ".join(found[name])
            said.append(f"{name} has changed from ({was}) to ({now})")
    return said


async def of_a_node() -> dict[str, Description]:
    with tempfile.TemporaryDirectory(prefix="names-") as directory:
        async with busy_node(Path(directory)) as busy:
            return described(busy.node.served.node.registry)


def main() -> int:
    promised, found = listed(), asyncio.run(of_a_node())
    new = {name: found[name] for name in found.keys() - promised.keys()}
    head = [text for text in LIST.read_text().splitlines() if text.startswith("#")]
    lines = [line(*item) for item in sorted((promised | new).items())]
    LIST.write_text("\n".join([*head, *lines]) + "\n")
    for name in sorted(new):
        print(f"added {line(name, new[name])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
