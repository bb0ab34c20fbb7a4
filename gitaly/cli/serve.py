"""`gitaly serve`: from a file to a running node, and down again on a signal."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from gitaly.cli import early_signals
from gitaly.cli.last_resort import leave_soon
from gitaly.cli.life import Life, Orders
from gitaly.config import Config, ConfigError, TOMLError, load, require_startable
from gitaly.errors import NodeError
from gitaly.node import Node, running_node
from gitaly.observe.log import Logger, make_logger
from gitaly.reload import Read
from gitaly.state_dump import StateDump
from gitaly.supervision import open_files
from gitaly.supervision.supervision import Supervision

COMMAND_SECONDS: Final = 30  # for config_command at a reload, which is not to hang for ever
# How long a thread may keep the interpreter while another waits for it. A scrape of the metrics
# computes for 60 ms on a thread of its own, and a call would wait several times 5 ms, Python's own.
SWITCH_SECONDS: Final = 0.0005


def serve_file(path: str) -> int:
    """Run a node; the exit code: 0 after an orderly stop, 1 for everything else."""
    try:
        supervision = Supervision.begin(os.environ, os.getpid())
    except NodeError as error:
        print(f"failed to start Gitaly: {error}", file=sys.stderr)
        return 1
    try:
        config = load(path)
        try:
            require_startable(config)
        except ConfigError as error:
            raise ConfigError(f"invalid config: {error}") from error
        logger = make_logger(
            sys.stdout.buffer, format=config.logging.format, level=config.logging.level
        )
    except (NodeError, ValueError, KeyError) as error:
        where = f"line {error.line}: " if isinstance(error, TOMLError) else ""
        text = f'failed to configure Gitaly: load config: config_path "{path}": {where}{error}'
        print(text, file=sys.stderr)
        supervision.failed(text)
        supervision.close()
        return 1
    return run(config, logger, supervision, read=partial(load, path, COMMAND_SECONDS))


def run(
    config: Config,
    logger: Logger,
    supervision: Supervision,
    *,
    read: Read,
    is_deserted: Callable[[], bool] = lambda: False,
    on_ready: Callable[[Node], None] = lambda _: None,
    on_error: Callable[[NodeError], None] = lambda _: None,
) -> int:
    """Run a node until a signal stops it; on_error hears what the log says of a failed start.

    `read`: reads the configuration again, at each SIGHUP. `is_deserted`: asked at that signal;
    whether it means that nobody is there any more, so that the node stops instead.
    """
    if sys.version_info < (3, 12):
        # 3.11 would start a thread for each child process; nothing of ours uses it, but others may
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    supervision.program.name_process()
    try:
        clean = asyncio.run(_serve(config, logger, supervision, read, is_deserted, on_ready))
    except NodeError as error:
        logger.error("unclean Gitaly shutdown", error=str(error))
        supervision.failed(str(error))
        on_error(error)
        return 1
    finally:
        supervision.close()
    if clean:
        logger.info("Gitaly shutdown")
    return 0 if clean else 1


async def _serve(
    config: Config,
    logger: Logger,
    supervision: Supervision,
    read: Read,
    is_deserted: Callable[[], bool],
    on_ready: Callable[[Node], None],
) -> bool:
    orders = Orders(logger)
    _obey(orders, supervision, is_deserted)
    files = open_files.raise_limit()
    async with AsyncExitStack() as stack:
        dump = stack.enter_context(StateDump(logger))
        early_signals.release()
        birth = supervision.birth(files)
        node = await stack.enter_async_context(running_node(config, logger, birth))
        dump.inspection = node.inspection
        open_files.announce(files, logger)
        life = Life(node, supervision, orders, logger, open_files=files.inherited)
        await life.begin()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.freeze()  # what a start has made stays: no collection need look at it again
        logger.info("Started Gitaly")
        on_ready(node)
        async with life.reloading(read):
            is_clean = await life.run()
            leave_soon(0 if is_clean else 1, logger)
            return is_clean


def _obey(orders: Orders, supervision: Supervision, is_deserted: Callable[[], bool]) -> None:
    """Who sends which signal for what: docs/operating.md, "Signals"."""

    def hung_up() -> None:
        if is_deserted():
            orders.stopped_by(signal.SIGHUP)
        else:
            orders.reloaded()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orders.stopped_by, number)
    loop.add_signal_handler(signal.SIGUSR1, orders.replaced)
    if supervision.has_wrapper:
        loop.add_signal_handler(signal.SIGHUP, orders.replaced)
    else:
        loop.add_signal_handler(signal.SIGHUP, hung_up)
