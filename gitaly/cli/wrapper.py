"""`gitaly-wrapper BINARY [ARGUMENT…]`: one process for a supervisor that knows only one.

Runs the node, or adopts the one that GITALY_PID_FILE names, passes every signal on to it, and ends
when it does: its supervisor then starts the wrapper again, which adopts the node that has taken
over. Source: Gitaly, cmd/gitaly-wrapper.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from gitaly.observe.log import Logger, make_logger
from gitaly.supervision.switches import PID_FILE, UPGRADES, is_on

JSON_LOGGING: Final = "WRAPPER_JSON_LOGGING"
POLL_SECONDS: Final = 1.0
COMM_BYTES: Final = 15  # of a program's name the kernel keeps so many
# SIGURG is the Go runtime's own; SIGCHLD is about our child; the others are our own crash.
KEPT: Final = frozenset(
    {
        signal.SIGURG,
        signal.SIGCHLD,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGKILL,
        signal.SIGSTOP,
    }
)


def main() -> NoReturn:
    """The console script."""
    sys.exit(wrap(sys.argv, os.environ))


def wrap(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Until the node ends; the exit code: 1 if it cannot be started or found, else 0."""
    form = "json" if is_on(environment, JSON_LOGGING) else "text"
    logger = make_logger(sys.stdout.buffer, format=form).bind(wrapper=os.getpid())
    if len(argv) < 2:
        logger.error(f"usage: {argv[0]} forking_binary [args]")
        return 1
    logger.info("Wrapper started")
    pid_file = environment.get(PID_FILE, "")
    if not pid_file:
        logger.error(f'missing pid file ENV variable "{PID_FILE}"')
        return 1
    # From here on signals wait until they can be passed on.
    signal.pthread_sigmask(signal.SIG_BLOCK, _passed_on() | {signal.SIGCHLD})
    try:
        pid = _find(pid_file, argv[1], logger)
        if pid is None:
            logger.info("spawning a process")
            pid = _spawn(argv[1:], environment)
        else:
            logger.info("adopting a process")
    except OSError as error:
        logger.error("the process cannot be had", error=str(error))
        return 1
    _accompany(pid, logger.bind(process=pid))
    return 0


def _find(pid_file: str, binary: str, logger: Logger) -> int | None:
    """The process that the file names, if it lives and runs that program. Raises OSError."""
    logger.info("finding process", pid_file=pid_file)
    try:
        with open(pid_file) as file:
            text = file.read()
    except FileNotFoundError as error:
        logger.error("find process", error=str(error))
        return None
    if not (text.isascii() and text.isdecimal()):
        logger.error("find process", error=f"{pid_file}: {text[:40]!r} is not a number")
        return None
    is_it = _lives(int(text)) and _name(int(text)) == os.path.basename(binary)[:COMM_BYTES]
    return int(text) if is_it else None


def _name(pid: int) -> str:
    """The name of its program, as ps has it."""
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _spawn(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start it with standard input and output of ours. Raises OSError."""
    return os.posix_spawnp(
        command[0],
        list(command),
        {**environment, UPGRADES: "true"},
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
    )


def _accompany(pid: int, logger: Logger) -> None:
    """Pass signals on until it is gone."""
    logger.info("monitoring process")
    awaited = _passed_on() | {signal.SIGCHLD}
    while _lives(pid):
        received = signal.sigtimedwait(awaited, POLL_SECONDS)
        if received is None or received.si_signo == signal.SIGCHLD:
            continue
        fields = {"signal": _signal_name(received.si_signo)}
        logger.warning("forwarding signal", **fields)
        try:
            os.kill(pid, received.si_signo)
        except OSError as error:
            logger.error("can't forward the signal", error=str(error), **fields)
    logger.error("wrapper for process shutting down")


def _lives(pid: int) -> bool:
    """Whether it runs; a child of ours that has ended is buried here."""
    with suppress(ChildProcessError):
        ended, _ = os.waitpid(pid, os.WNOHANG)
        return not ended
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):  # somebody else's is none of ours
        return False
    return True


def _passed_on() -> set[int]:
    return {int(number) for number in signal.valid_signals()} - {int(number) for number in KEPT}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
