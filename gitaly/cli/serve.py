"""`gitaly serve`: from a file to a running node, and down again on a signal."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import aiofiles

from gitaly.config import Config, ConfigError, load, require_startable
from gitaly.errors import NodeError
from gitaly.node import Node, running_node
from gitaly.observe.log import Logger, make_logger
from gitaly.state_dump import StateDump

PID_FILE: Final = "GITALY_PID_FILE"


class CannotWritePidFile(NodeError):
    """The file that GITALY_PID_FILE names cannot be written."""


def serve_file(path: str) -> int:
    """Run a node; the exit code: 0 after an orderly stop, 1 for everything else."""
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
        text = f'failed to configure Gitaly: load config: config_path "{path}": {error}'
        print(text, file=sys.stderr)
        return 1
    return run(config, logger)


def run(
    config: Config,
    logger: Logger,
    on_ready: Callable[[Node], None] = lambda _: None,
    on_error: Callable[[NodeError], None] = lambda _: None,
) -> int:
    """Run a node until a signal stops it; on_error hears what the log says of a failed start."""
    if sys.version_info < (3, 12):
        # 3.11 would start a thread for each child process; nothing of ours uses it, but others may
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        clean = asyncio.run(_serve(config, logger, on_ready))
    except NodeError as error:
        logger.error("unclean Gitaly shutdown", error=str(error))
        on_error(error)
        return 1
    if clean:
        logger.info("Gitaly shutdown")
    return 0 if clean else 1


async def _serve(config: Config, logger: Logger, on_ready: Callable[[Node], None]) -> bool:
    stop, hurry = asyncio.Event(), asyncio.Event()
    received: list[str] = []
    loop = asyncio.get_running_loop()

    def signalled(number: signal.Signals) -> None:
        received.append(SIGNAL_NAMES[number])
        (hurry if stop.is_set() else stop).set()

    for number in SIGNAL_NAMES:
        loop.add_signal_handler(number, signalled, number)
    async with AsyncExitStack() as stack:
        dump = stack.enter_context(StateDump(logger))
        node = await stack.enter_async_context(running_node(config, logger))
        dump.inspection = node.inspection
        await _write_pid_file()
        gc.freeze()  # what a start has made stays: no collection need look at it again
        logger.info("Started Gitaly")
        on_ready(node)
        await stop.wait()
        logger.info("[shutdown] stopping Gitaly", signal=received[0])
        grace = config.graceful_restart_timeout.total_seconds()
        logger.info("starting grace period", grace_seconds=grace)
        clean = await node.serving.stop(grace, hurry)
        if not clean:
            why = "force shutdown" if hurry.is_set() else "wait: grace period expired"
            error = f'received signal "{received[0]}": {why}'
            logger.error("unclean Gitaly shutdown", error=error)
        return clean


SIGNAL_NAMES: Final = {
    signal.SIGTERM: "terminated",
    signal.SIGINT: "interrupt",
    signal.SIGHUP: "hangup",
}


async def _write_pid_file() -> None:
    """For a wrapper that restarts us; readers see the old content or the new."""
    path = os.environ.get(PID_FILE)
    if not path:
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        async with aiofiles.open(temporary, "w") as file:
            await file.write(str(os.getpid()))  # no newline: the wrapper does not expect one
        os.rename(temporary, path)
    except OSError as error:
        raise CannotWritePidFile(f"{PID_FILE}: {path}: {error.strerror}") from error
