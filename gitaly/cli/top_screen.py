"""What `gitaly top` shows: lines of text from snapshots. Knows no terminal and no clock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gitaly.cli.nodes import Process
from gitaly.cli.wording import clipped, printable, size, span, width_of
from gitaly.observe.snapshot import CallState, Snapshot

Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A call, and what changed since the last look."""

    call: CallState
    pid: int
    cpu_share: float | None = None  # of one CPU; None: it was not there the last time
    sent_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `key`: the letter by which people sort."""

    heading: str
    key: str
    width: int  # 0: whatever is left
    text: Callable[[Row], str]
    order: Callable[[Row], float | str]
    is_number: bool = True


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _rate(rate: float | None) -> str:
    return f"{size(rate)}/s" if rate and rate >= 1 else ""


def _who(call: CallState) -> str:
    return " ".join(filter(None, (call.client, call.user, call.remote_ip or call.peer)))


def _what(row: Row) -> str:
    method = row.call.rpc.rpartition("/")[2]
    return f"{method} [{', '.join(row.call.commands)}]" if row.call.commands else method


def _some(count: int) -> str:
    return size(count) if count else ""


COLUMNS: Final = (
    Column(
        heading="TIME",
        key="t",
        width=9,
        text=lambda row: span(row.call.seconds),
        order=lambda row: -row.call.seconds,
    ),
    Column(
        heading="QUEUED",
        key="w",
        width=9,
        text=lambda row: span(row.call.queue_seconds) if row.call.queue_seconds else "",
        order=lambda row: -row.call.queue_seconds,
    ),
    Column(
        heading="CPU%",
        key="c",
        width=5,
        text=lambda row: _share(row.cpu_share),
        order=lambda row: -(row.cpu_share or 0.0),
    ),
    Column(
        heading="CPU",
        key="u",
        width=8,
        text=lambda row: span(row.call.cpu_seconds) if row.call.cpu_seconds else "",
        order=lambda row: -row.call.cpu_seconds,
    ),
    Column(
        heading="MEMORY",
        key="m",
        width=9,
        text=lambda row: _some(row.call.memory_bytes),
        order=lambda row: -row.call.memory_bytes,
    ),
    Column(
        heading="RECEIVED",
        key="i",
        width=9,
        text=lambda row: _some(row.call.received_bytes),
        order=lambda row: -row.call.received_bytes,
    ),
    Column(
        heading="SENT",
        key="b",
        width=9,
        text=lambda row: _some(row.call.sent_bytes),
        order=lambda row: -row.call.sent_bytes,
    ),
    Column(
        heading="SENT/S",
        key="s",
        width=11,
        text=lambda row: _rate(row.sent_per_second),
        order=lambda row: -(row.sent_per_second or 0.0),
    ),
    Column(
        heading="PHASE",
        key="p",
        width=7,
        text=lambda row: row.call.phase,
        order=lambda row: row.call.phase,
        is_number=False,
    ),
    Column(
        heading="REPOSITORY",
        key="r",
        width=34,
        text=lambda row: row.call.repository,
        order=lambda row: row.call.repository,
        is_number=False,
    ),
    Column(
        heading="CLIENT",
        key="n",
        width=30,
        text=lambda row: _who(row.call),
        order=lambda row: _who(row.call),
        is_number=False,
    ),
    Column(
        heading="CALL",
        key="a",
        width=0,
        text=_what,
        order=lambda row: row.call.rpc,
        is_number=False,
    ),
)
BY_KEY: Final[Mapping[str, Column]] = MappingProxyType({c.key: c for c in COLUMNS})
BY_HEADING: Final[Mapping[str, Column]] = MappingProxyType(
    {column.heading.lower(): column for column in COLUMNS}
)
HELP: Final = "sort by: " + " ".join(f"{c.key} {c.heading.lower()}" for c in COLUMNS) + "   q quit"


def rows_of(processes: Sequence[Process], former: Sequence[Process], column: Column) -> list[Row]:
    """The calls of all processes, sorted; rates are those since the former look."""
    before = {process.pid: process.snapshot for process in former if process.snapshot is not None}
    rows = [
        row
        for process in processes
        if process.snapshot is not None
        for row in _rows(process.pid, process.snapshot, before.get(process.pid))
    ]
    return sorted(rows, key=column.order)


def _rows(pid: int, now: Snapshot, before: Snapshot | None) -> Iterator[Row]:
    known: Mapping[Key, CallState] = {}
    seconds = 0.0
    if before is not None:
        seconds = now.taken - before.taken
        known = {_key(before, call): call for call in before.calls}
    for call in now.calls:
        old = known.get(_key(now, call))
        if old is None or seconds <= 0:
            yield Row(call=call, pid=pid)
            continue
        yield Row(
            call=call,
            pid=pid,
            cpu_share=max(0.0, call.cpu_seconds - old.cpu_seconds) / seconds,
            sent_per_second=max(0, call.sent_bytes - old.sent_bytes) / seconds,
        )


def _key(snapshot: Snapshot, call: CallState) -> Key:
    """What two looks at a call have in common: when it came, to a twentieth of a second, too."""
    came = round((snapshot.taken - call.seconds) * 20)
    return call.correlation_id, call.rpc, call.peer, came


def screen(
    processes: Sequence[Process],
    former: Sequence[Process],
    column: Column,
    *,
    width: int = 0,
    height: int = 0,
) -> list[str]:
    """Lines of at most `width` columns, at most `height` of them; 0: as many as it takes.

    The heading by which the calls are sorted is marked with a star.
    """
    head = [line for process in processes for line in _head(process)] or ["no node runs"]
    rows = rows_of(processes, former, column)
    table = [_line(_headings(column)), *(_line(_cells(row)) for row in rows)]
    if height:
        room = max(2, height - len(head) - 1)
        if len(table) > room:
            left_out = len(table) - room + 1
            table = [*table[: room - 1], f"… and {left_out} more"]
        lines = [*head, *table][: height - 1]
        lines += [""] * (height - 1 - len(lines)) + [HELP]
    else:
        lines = [*head, *table]
    return [clipped(line, width) if width else line.rstrip() for line in map(printable, lines)]


def _head(process: Process) -> Iterator[str]:
    snapshot = process.snapshot
    if snapshot is None:
        yield f"! {process.problem}"
        return
    node, cache = snapshot.node, snapshot.cache
    lag = "stuck" if node.loop_lag_seconds is None else span(node.loop_lag_seconds)
    yield (
        f"gitaly {node.version}  process {node.pid}  {node.state}  up {span(node.uptime_seconds)}"
        f"  memory {size(node.memory_bytes)}  lag {lag}"
        f"  descriptors {node.descriptors}/{node.descriptors_limit}"
    )
    shown = len(snapshot.calls)
    some = f" (the oldest {shown} below)" if shown < snapshot.calls_total else ""
    waiting = sum(queue.waiting for queue in snapshot.queues)
    yield (
        f"calls {snapshot.calls_total}{some}  queued {snapshot.calls_queued}"
        f"  waiting at limits {waiting}"
        f"  cache {cache.hits} hits {cache.misses} misses"
        f"  packs computed now {cache.productions_total}"
    )
    for text in snapshot.wrong:
        yield f"! {text}"


def _headings(column: Column) -> list[str]:
    return [c.heading + ("*" if c is column else "") for c in COLUMNS]


def _cells(row: Row) -> list[str]:
    return [column.text(row) for column in COLUMNS]


def _line(cells: Sequence[str]) -> str:
    """Cells under each other. A name that is too long keeps its end, which tells it apart."""
    fitted = []
    for column, cell in zip(COLUMNS, map(printable, cells), strict=True):
        if not column.width:
            fitted.append(cell)
            continue
        text = cell if width_of(cell) <= column.width else _end_of(cell, column.width)
        gap = " " * (column.width - width_of(text))
        fitted.append(gap + text if column.is_number else text + gap)
    return " ".join(fitted)


def _end_of(text: str, width: int) -> str:
    return clipped(text[::-1], width)[::-1]
