"""Suggests limits from what a node has seen, as a configuration with its reasons.

A method that needs much of the machine gets a limit in shadow mode first; one whose limit has been
met gets the numbers that would have served its callers, or keeps those that it has.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gitaly.limits.metrics import name_of
from gitaly.limits.page import Met, Page, Spent

HEAVY_SHARE: Final = 0.05  # of the CPU time of all git children
LEAST_CALLS: Final = 20  # fewer say nothing
SHORT_SECONDS: Final = 24 * 3600.0  # a node that has not seen a whole day has not seen its peak
REPOSITORY_SHARE: Final = 0.5  # of the machine, which one repository may take
FEWEST, MOST = 2, 200  # calls of one repository at once
QUEUE_SIZE: Final = 500
QUEUE_WAIT: Final = "1m"
TOO_MANY_REFUSED: Final = 0.001
TOO_MANY_WAIT: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A limit that the node has. `wait` as it is written; empty for none."""

    concurrency: int
    queue_size: int
    wait: str = ""
    shadow: bool = False
    adaptive: str = ""  # the lines of an adaptive limit, which stay as they are
    below: str = ""  # the lines of its table for callers without a name, which stay too


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One `[[concurrency]]` table, and why."""

    rpc: str
    configured: Configured
    reasons: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """As TOML."""
        for reason in self.reasons:
            yield f"# {reason}"
        yield "[[concurrency]]"
        yield f'rpc = "{self.rpc}"'
        if self.configured.adaptive:
            yield from self.configured.adaptive.splitlines()
        else:
            yield f"max_concurrency = {self.configured.concurrency}"
        yield f"max_queue_size = {self.configured.queue_size}"
        if self.configured.wait:
            yield f'max_queue_wait = "{self.configured.wait}"'
        if self.configured.shadow:
            yield "shadow = true"
        yield from self.configured.below.splitlines()


def suggest(page: Page, limits: Mapping[str, Configured], *, cpus: int, now: float) -> str:
    """A configuration for `[[concurrency]]`, in TOML, each table with its reasons.

    `limits`: those of the node, by method. `now`: seconds since 1970.
    """
    hours = max(0.0, now - page.started) / 3600
    head = [f"# What the node has seen in {hours:.1f} hours, on a machine with {cpus} CPUs."]
    if now - page.started < SHORT_SECONDS:
        head.append("# That is less than a day: ask again after the busiest hours.")
    tables = [_known(page, rpc, limit) for rpc, limit in sorted(limits.items())]
    tables += _new(page, set(limits), cpus)
    if not tables:
        head.append("# No method needs a limit: none has taken much of git's CPU time.")
    return "\n".join([*head, *(line for table in tables for line in ("", *table.lines()))]) + "\n"


def _new(page: Page, known: set[str], cpus: int) -> Iterator[Table]:
    spent = {rpc: page.spent(rpc) for rpc in page.methods()}
    total = sum(each.cpu_seconds for each in spent.values())
    for rpc, each in sorted(spent.items(), key=lambda item: -item[1].cpu_seconds):
        share = each.cpu_seconds / total if total else 0.0
        if rpc in known or share < HEAVY_SHARE or each.calls < LEAST_CALLS:
            continue
        yield _for_heavy(rpc, each, share, cpus)


def _for_heavy(rpc: str, spent: Spent, share: float, cpus: int) -> Table:
    # With the histograms switched off nobody knows how long a call takes: a whole core, then.
    cores = spent.cpu_seconds / spent.seconds if spent.seconds else 1.0
    wanted = math.ceil(cpus * REPOSITORY_SHARE / max(cores, 0.001))
    concurrency = min(MOST, max(FEWEST, wanted))
    reasons = (
        f"{spent.calls:.0f} calls took {spent.cpu_seconds:.1f} s of CPU,"
        f" {share:.0%} of all that git took;",
        f"one that runs keeps {cores:.2f} CPUs busy, so {concurrency} of one repository take about"
        f" {concurrency * cores / cpus:.0%} of the machine.",
        "In shadow mode it only counts; drop the last line when gitaly_limit_shadow_* pleases you.",
    )
    limit = Configured(concurrency=concurrency, queue_size=QUEUE_SIZE, wait=QUEUE_WAIT, shadow=True)
    return Table(rpc=rpc, configured=limit, reasons=reasons)


def _known(page: Page, rpc: str, limit: Configured) -> Table:
    met, calls = page.met(rpc, name_of(rpc, authenticated=True)), page.spent(rpc).calls
    if limit.shadow:
        return _after_shadow(rpc, limit, met, calls)
    return _after_work(rpc, limit, met, calls)


def _after_shadow(rpc: str, limit: Configured, met: Met, calls: float) -> Table:
    seen = (
        f"In shadow mode, of {calls:.0f} calls {met.shadow_queued:.0f} would have waited and"
        f" {met.shadow_dropped:.0f} been refused; one repository wanted {met.most_wanted} at once."
    )
    if calls < LEAST_CALLS:
        why = "Too few calls to judge: it stays in shadow mode."
        return Table(rpc=rpc, configured=limit, reasons=(seen, why))
    limit, why = _with_room(limit, met, met.shadow_dropped, calls)
    enforced = replace(limit, shadow=False)
    return Table(rpc=rpc, configured=enforced, reasons=(seen, f"{why} Enforced now."))


def _after_work(rpc: str, limit: Configured, met: Met, calls: float) -> Table:
    seen = (
        f"Of {calls:.0f} calls {met.dropped:.0f} were refused and {met.waited_long:.1%} waited more"
        f" than a second; one repository wanted {met.most_wanted} at once."
    )
    limit, why = _with_room(limit, met, met.dropped, calls)
    reasons = [seen, why]
    if met.waited_long > TOO_MANY_WAIT:
        reasons.append(
            "Many wait long: if the machine has CPU to spare meanwhile, raise max_concurrency."
        )
    return Table(rpc=rpc, configured=limit, reasons=tuple(reasons))


def _with_room(limit: Configured, met: Met, refused: float, calls: float) -> tuple[Configured, str]:
    """A longer queue where too many were refused: waiting costs the node next to nothing."""
    if refused <= calls * TOO_MANY_REFUSED:
        return limit, "The numbers are good as they are."
    size = max(limit.queue_size, met.most_wanted - limit.concurrency)
    if size == limit.queue_size:
        return limit, "The queue is long enough: they were refused for their time in it."
    return replace(limit, queue_size=size), f"The queue should have held {size}."
