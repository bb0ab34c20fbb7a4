"""`gitaly serve`: from a file to a running node, and down again on a signal."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Final

import aiofiles

from gitaly.config import Config, ConfigError, load, require_startable
from gitaly.errors import NodeError
from gitaly.node import Node, running_node
from gitaly.observe.log import Logger, make_logger
from gitaly.reload import Read

PID_FILE: Final = "GITALY_PID_FILE"
COMMAND_SECONDS: Final = 30  # for config_command at a reload, which is not to hang for ever
# How long a thread may keep the interpreter while another waits for it. A scrape of the metrics
# computes for 60 ms on a thread of its own, and a call would wait several times 5 ms, Python's own.
SWITCH_SECONDS: Final = 0.0005


class CannotWritePidFile(NodeError):
    """The file that GITALY_PID_FILE names cannot be written."""


def serve_file(path: str) -> int:
    """Run a node; the exit code: 0 after an orderly stop, 1 for everything else."""
    # One that comes too early would end us; it waits until somebody knows what to do about it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
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
    return run(config, logger, partial(load, path, COMMAND_SECONDS))


def run(
    config: Config,
    logger: Logger,
    read: Read | None = None,
    on_ready: Callable[[Node], None] = lambda _: None,
    on_error: Callable[[NodeError], None] = lambda _: None,
) -> int:
    """Run a node until a signal stops it; on_error hears what the log says of a failed start.

    `read`: reads the configuration again, at each SIGHUP. Without it that signal stops the node.
    """
    if sys.version_info < (3, 12):
        # 3.11 would start a thread for each child process; nothing of ours uses it, but others may
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        clean = asyncio.run(_serve(config, logger, read, on_ready))
    except NodeError as error:
        logger.error("unclean Gitaly shutdown", error=str(error))
        on_error(error)
        return 1
    if clean:
        logger.info("Gitaly shutdown")
    return 0 if clean else 1


async def _serve(
    config: Config, logger: Logger, read: Read | None, on_ready: Callable[[Node], None]
) -> bool:
    stop, hurry, reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
    received: list[str] = []
    loop = asyncio.get_running_loop()

    def signalled(number: signal.Signals) -> None:
        received.append(SIGNAL_NAMES[number])
        (hurry if stop.is_set() else stop).set()

    def hung_up() -> None:
        if stop.is_set():
            logger.warning("configuration not reloaded: the node is stopping")
        reload.set()

    for number in SIGNAL_NAMES:
        loop.add_signal_handler(number, signalled, number)
    if read is not None:
        loop.add_signal_handler(signal.SIGHUP, hung_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    async with running_node(config, logger) as node:
        await _write_pid_file()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.freeze()  # what a start has made stays: no collection need look at it again
        logger.info("Started Gitaly")
        on_ready(node)
        async with _reloading(node, reload, read):
            await stop.wait()
        logger.info("[shutdown] stopping Gitaly", signal=received[0])
        grace = node.reloader.config.graceful_restart_timeout.total_seconds()
        logger.info("starting grace period", grace_seconds=grace)
        clean = await node.serving.stop(grace, hurry)
        if not clean:
            why = "force shutdown" if hurry.is_set() else "wait: grace period expired"
            error = f'received signal "{received[0]}": {why}'
            logger.error("unclean Gitaly shutdown", error=error)
        return clean


def _reloading(
    node: Node, wanted: asyncio.Event, read: Read | None
) -> AbstractAsyncContextManager[None]:
    """A supervisor who wants to know of reloads is told by the third argument of `following`."""
    return nullcontext() if read is None else node.reloader.following(wanted, read)


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
