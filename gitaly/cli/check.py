"""`gitaly check`: whether the node that a file describes can work, in the words of its operator.

Each check is one line on standard output, `Checking <what>: OK`, `… WARNING` or `… FAILED`; the
reason of a failure goes to standard error, and what to do about it stands below the line, indented.
The lines about GitLab are those of the original, which has no others.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import click

from gitaly.cli.check_gitlab import GITLAB, gitlab_checks
from gitaly.cli.check_machine import machine_checks
from gitaly.cli.check_tls import tls_checks
from gitaly.cli.checks import Check, CheckFailed, Subject
from gitaly.config import Config, inactive_features, load, problems, require_startable
from gitaly.errors import NodeError
from gitaly.start_log import push_mode

# Whoever has something to check adds it here: from what the file says to checks, run in this order.
CHECKS: Final[Sequence[Callable[[Subject], Iterator[Check]]]] = (
    machine_checks,
    tls_checks,
    gitlab_checks,
)


def check_arguments(arguments: Sequence[str], context: click.Context | None = None) -> int:
    """`gitaly check`, and `gitaly-hooks check` of old runbooks; the exit code."""
    if len(arguments) == 1 and arguments[0]:
        return check_file(arguments[0])
    if context is not None:
        print(context.get_help())
    print("error: invalid argument(s)", file=sys.stderr)
    return 2


def check_file(path: str) -> int:
    """Print one line for each check; 0 if all went well, else 1 and the reasons on stderr."""
    try:
        config = load(path)
        require_startable(config)
    except NodeError as error:
        print("Checking configuration: FAILED")
        print(f"  change {path}, or bring back what it names (a file system to be mounted?);")
        print(f"  gitaly configuration validate < {path} lists all that is wrong")
        print(f'config_path "{path}": {error}', file=sys.stderr)
        return 1
    print("Checking configuration: OK")
    with ExitStack() as stack:
        failed = _run_all(Subject(config, stack))
    _remarks(config)
    print("FAILED" if failed else "OK")
    return int(failed)


def _run_all(subject: Subject) -> bool:
    """Whether any check has failed."""
    failed = False
    for checks in CHECKS:
        for check in checks(subject):
            failed = not _passes(check) or failed
    return failed


def _passes(check: Check) -> bool:
    try:
        found = check.run()
    except (NodeError, OSError) as error:
        advice = (error.advice if isinstance(error, CheckFailed) else "") or check.advice
        print(f"Checking {check.what}: FAILED")
        if advice:
            print(f"  {advice}")
        print(_reason(check, error), file=sys.stderr)
        return False
    verdict = "WARNING" if found.warning else "OK"
    print(f"Checking {check.what}: {verdict}{found.summary and f' ({found.summary})'}")
    if found.warning:
        print(f"  {found.warning}")
    for line in found.lines:
        print(line)
    return True


def _reason(check: Check, error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text if check.what == GITLAB else f"{check.what}: {text}"


def _remarks(config: Config) -> None:
    print(push_mode(config))
    inactive = inactive_features(config)
    if inactive:
        print(f"configured but not active: {', '.join(inactive)}")
    unknown: Final = config.origin.unknown_keys
    if unknown:
        print(f"unknown keys, ignored: {', '.join(unknown)}")
    for problem in problems(config):
        print(f"configuration: {problem}")
