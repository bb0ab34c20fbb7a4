"""Lengths of time, spelled as Go's standard library spells them: "1m30s", "300ms", "-5m".

Operators know this spelling from every Gitaly file, so errors are worded in the same way too.
Source: Go, package time, ParseDuration and Duration.String.
"""

import re
from datetime import timedelta
from typing import Final

from gitaly.config.go_text import quote

NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # micro sign
    "μs": 10**3,  # Greek letter mu
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
LONGEST: Final = 2**63 - 1  # nanoseconds
PART: Final = re.compile(r"(?P<whole>[0-9]*)(?:(?P<dot>\.)(?P<fraction>[0-9]*))?(?P<unit>[^0-9.]*)")


def parse_duration(text: str) -> timedelta:
    """The length of time that `text` names; ValueError, worded as Go does, if it names none.

    What is shorter than a microsecond is rounded away from zero, so that it never becomes "unset".
    """
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return timedelta(0)
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total = 0
    while rest:
        part = PART.match(rest)
        if part is None or not (part["whole"] or part["fraction"]):
            raise ValueError(f"time: invalid duration {quote(text)}")
        unit = part["unit"]
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in NANOSECONDS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        total += _nanoseconds(part["whole"] or "0", part["fraction"] or "", NANOSECONDS[unit])
        rest = rest[part.end() :]
    if total > LONGEST + (sign < 0):
        raise ValueError(f"time: invalid duration {quote(text)}")
    return timedelta(microseconds=sign * -(-total // 1000))


def format_duration(duration: timedelta) -> str:
    """The duration as Go prints it: "24h0m0s", "1.5s", "300ms", "0s"."""
    microseconds = duration // timedelta(microseconds=1)
    if microseconds == 0:
        return "0s"
    sign, microseconds = ("-", -microseconds) if microseconds < 0 else ("", microseconds)
    if microseconds < 1000:
        return f"{sign}{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{sign}{_decimal(microseconds, 1000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, 1_000_000)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"


def _nanoseconds(whole: str, fraction: str, unit: int) -> int:
    scale: int = 10 ** len(fraction)
    return int(whole) * unit + int(fraction or "0") * unit // scale


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = f"{rest:0{len(str(unit)) - 1}}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
