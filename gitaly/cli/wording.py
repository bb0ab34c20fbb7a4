"""Numbers and names for people at a terminal."""

import time
import unicodedata
from typing import Final

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float | None) -> str:
    """ "512 B", "1.5 GiB"; "-" if it is not known."""
    if count is None:
        return "-"
    unit = 0
    while abs(count) >= 1024 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.1f} {UNITS[unit]}" if unit and count < 100 else f"{count:.0f} {UNITS[unit]}"


def span(seconds: float | None) -> str:
    """ "3 ms", "12.5 s", "12 min", "3 h 12 min", "5 days"; "-" if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds // 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds // 86400:.0f} days"


def clock(seconds: float) -> str:
    """The local time of day of a moment since 1970."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def printable(text: str) -> str:
    """A name as it may go to a terminal: nothing in it moves the cursor or turns the line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def width_of(text: str) -> int:
    """How many columns a text takes."""
    return sum(map(_columns, text))


def clipped(text: str, width: int) -> str:
    """The text in at most so many columns; what is cut off shows as "…"."""
    if width_of(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…" if width > 0 else ""


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
