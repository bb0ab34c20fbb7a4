"""Checks of single values. Each gives the text of what is wrong, None if all is well."""

import os
import stat
from datetime import timedelta
from typing import Final

from gitaly.config.durations import format_duration
from gitaly.config.go_text import float_text, quote, reason
from gitaly.ports import is_host, is_port, split_address

Number = int | float | timedelta

NOT_SET: Final = "not set"
LISTENABLE: Final = (
    '"host:port", or ":port" for every address of the machine; the port is a number up to 65535'
    " or a service that /etc/services names"
)
NO_TIME: Final = timedelta(0)


def not_empty(value: str) -> str | None:
    """Something must be there."""
    return None if value else NOT_SET


def not_blank(value: str) -> str | None:
    """Something must be there beside white space."""
    return None if value.strip() else "blank or empty"


def directory_exists(path: str) -> str | None:
    """The path must lead to a directory."""
    mode = _mode(path)
    if isinstance(mode, str):
        return mode
    return None if stat.S_ISDIR(mode) else f"not a dir: {quote(path)}"


def file_exists(path: str) -> str | None:
    """The path must lead to something that is not a directory."""
    mode = _mode(path)
    if isinstance(mode, str):
        return mode
    return f"not a file: {quote(path)}" if stat.S_ISDIR(mode) else None


def can_be_listened_on(address: str) -> str | None:
    """The value must be "host:port", with a port that exists; nobody is asked for the host."""
    host, port = split_address(address)
    if not is_port(port):
        what = f"{quote(port)} is not a port"
    elif not is_host(host):
        what = f"{quote(host)} is neither a name nor an address"
    else:
        return None
    return f"{what}; allowed: {LISTENABLE}"


def is_absolute(path: str) -> str | None:
    """The path must begin at the root."""
    return None if path.startswith("/") else f"not an absolute path: {quote(path)}"


def at_least(value: Number, limit: Number) -> str | None:
    """The value must reach the limit."""
    if _plain(value) >= _plain(limit):
        return None
    return f"not in range: {shown(value)} is not greater than or equal to {shown(limit)}"


def more_than(value: Number, limit: Number) -> str | None:
    """The value must pass the limit."""
    if _plain(value) > _plain(limit):
        return None
    return f"not in range: {shown(value)} is not greater than {shown(limit)}"


def within(value: Number, low: Number, high: Number) -> str | None:
    """The value must lie between the limits or on one of them."""
    if _plain(low) <= _plain(value) <= _plain(high):
        return None
    return f"not in range: {shown(value)} out of [{shown(low)}, {shown(high)}]"


def not_negative(value: int) -> str | None:
    """The value must be a natural number."""
    return None if value >= 0 else f"not supported: {value}"


def shown(value: Number) -> str:
    """A number as error texts show it: 5, 0.5, 1m0s."""
    if isinstance(value, timedelta):
        return format_duration(value)
    return float_text(value) if isinstance(value, float) else str(value)


def _plain(value: Number) -> int | float:
    return value / timedelta(microseconds=1) if isinstance(value, timedelta) else value


def _mode(path: str) -> int | str:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return f"doesn't exist: {quote(path)}"
    except (OSError, ValueError) as error:
        return f"stat {path}: {reason(error)}"
