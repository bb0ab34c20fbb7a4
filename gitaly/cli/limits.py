"""`gitaly limits suggest`: a configuration of limits from what the node itself has counted."""

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final

from gitaly.config import ConcurrencyConfig, Config, LimitsConfig, format_duration, load
from gitaly.errors import NodeError
from gitaly.limits.page import Page
from gitaly.limits.suggest import Configured, suggest

SECONDS: Final = 10.0  # for the node's answer


class CannotAsk(NodeError):
    """The node's metrics cannot be read."""


def suggest_for(path: str) -> int:
    """Print TOML; 0, or 1 and the reason on stderr."""
    try:
        config = load(path)
        page = _page(config)
    except NodeError as error:
        print(f'config_path "{path}": {error}', file=sys.stderr)
        return 1
    limits = {table.rpc: _configured(table) for table in config.concurrency if table.is_set}
    print(suggest(page, limits, cpus=os.cpu_count() or 1, now=time.time()), end="")
    return 0


def _page(config: Config) -> Page:
    if not config.prometheus_listen_addr:
        raise CannotAsk("no prometheus_listen_addr: without metrics there is nothing to learn from")
    url = f"http://{_reachable(config.prometheus_listen_addr)}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # http, as above
            return Page(answer.read().decode("utf-8", "replace"))
    except urllib.error.URLError as error:
        raise CannotAsk(f"{url}: {error.reason}: does the node run?") from error
    except (OSError, ValueError) as error:
        raise CannotAsk(f"{url}: {error}") from error


def _reachable(address: str) -> str:
    """An address that listens everywhere is asked on this machine."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("", "0.0.0.0", "[::]", "::") else address  # noqa: S104  # compared


def _configured(table: ConcurrencyConfig) -> Configured:
    return Configured(
        concurrency=table.initial_limit if table.adaptive else table.concurrency,
        queue_size=table.max_queue_size,
        wait=format_duration(table.max_queue_wait) if table.max_queue_wait else "",
        shadow=table.shadow,
        adaptive="\n".join(_numbers(table)) if table.adaptive else "",
        below="\n".join(_nameless(table.unauthenticated)),
    )


def _numbers(table: LimitsConfig) -> Iterator[str]:
    if not table.adaptive:
        yield f"max_concurrency = {table.concurrency}"
        return
    yield "adaptive = true"
    for key in ("initial_limit", "min_limit", "max_limit"):
        yield f"{key} = {getattr(table, key)}"


def _nameless(table: LimitsConfig) -> Iterator[str]:
    if not table.is_set:
        return
    yield "[concurrency.unauthenticated]"
    yield from _numbers(table)
    yield f"max_queue_size = {table.max_queue_size}"
    if table.max_queue_wait:
        yield f'max_queue_wait = "{format_duration(table.max_queue_wait)}"'
    if table.shadow:
        yield "shadow = true"
