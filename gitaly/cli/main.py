"""`gitaly`: the node, and what an operator asks it."""

import os
import sys
from typing import Any, NoReturn

import click

from gitaly.cli import early_signals
from gitaly.version import VERSION


class _Commands(click.Group):
    """`gitaly config.toml` means `gitaly serve config.toml`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        if len(arguments) == 1 and arguments[0] not in self.commands:
            first = arguments[0]
            if not first.startswith("-"):
                arguments = ["serve", first]
        return super().parse_args(context, arguments)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, "-v", "--version", message="Gitaly, version %(version)s")
def gitaly() -> None:
    """A Git storage node that speaks Gitaly's gRPC protocol."""


@gitaly.command()
@click.argument("config")
def serve(config: str) -> NoReturn:
    """Run the node that the file CONFIG describes."""
    early_signals.hold()  # the imports alone take half a second
    from gitaly.cli.serve import serve_file

    sys.exit(serve_file(config))


@gitaly.command()
@click.argument("directory", default="var")
def demo(directory: str) -> NoReturn:
    """Run a node of its own, with everything below DIRECTORY and no GitLab."""
    from gitaly.cli.demo import serve_demo

    sys.exit(serve_demo(directory))


@gitaly.command()
@click.argument("config", nargs=-1)
@click.pass_context
def check(context: click.Context, config: tuple[str, ...]) -> NoReturn:
    """Say whether the node that CONFIG describes can work."""
    from gitaly.cli.check import check_arguments

    sys.exit(check_arguments(config, context))


@gitaly.command()
@click.argument("config")
@click.option("--json", "as_json", is_flag=True, help="everything that is known, as JSON")
def status(config: str, as_json: bool) -> NoReturn:
    """Say how the node that CONFIG describes is doing.

    Exit code: 0 healthy, 1 something is wrong, 3 no node runs, 4 it cannot be asked.
    """
    from gitaly.cli.status import show_status

    sys.exit(show_status(config, as_json=as_json))


@gitaly.command()
@click.argument("config")
@click.option("--once", is_flag=True, help="print it once, as plain text; so does a pipe")
@click.option("--interval", default=2.0, show_default=True, help="seconds between two looks")
@click.option("--sort", default="time", show_default=True, help="a column, by its heading")
def top(config: str, once: bool, interval: float, sort: str) -> NoReturn:
    """Show the calls in flight at the node that CONFIG describes, and go on showing them."""
    from gitaly.cli.top import show_top

    sys.exit(show_top(config, once=once, interval_seconds=interval, sort=sort))


@gitaly.group()
def hooks() -> None:
    """Hooks of operators."""


@hooks.command(name="set")
@click.option("-c", "--config", required=True, help="configuration file of the node")
@click.option("--storage", default="", help="name of the storage; needed if there are several")
@click.option("--repository", required=True, help="relative path of the repository")
def hooks_set(config: str, storage: str, repository: str) -> NoReturn:
    """Replace the custom hooks of a repository by those of a tar archive on standard input.

    The archive has a directory custom_hooks. Empty input removes the hooks.
    """
    from gitaly.cli.hooks_set import set_hooks

    sys.exit(set_hooks(config, storage, repository, sys.stdin.buffer))


@gitaly.group()
def configuration() -> None:
    """Questions about configuration files."""


@configuration.command()
def validate() -> NoReturn:
    """Read a configuration on standard input and print everything that is wrong with it."""
    from gitaly.config import validate_text

    outcome = validate_text(sys.stdin.buffer.read())
    sys.stdout.write(outcome.stdout)
    sys.stderr.write(outcome.stderr)
    sys.exit(outcome.exit_code)


@gitaly.group()
def auth() -> None:
    """Questions about tokens."""


@auth.command("test")
@click.argument("address", default="")
@click.option("--token-file", default="", help="file that holds the token")
@click.option("-c", "--config", default="", help="configuration with tokens, and with the address")
@click.option(
    "--timeout",
    "patience_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    help="seconds for a connection, and for each answer",
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def auth_test(
    address: str, token_file: str, config: str, patience_seconds: float, as_json: bool
) -> NoReturn:
    """Say whether the node at ADDRESS (tcp://, tls://, unix:) accepts a token.

    The token is that of --token-file, else all of --config, else that of GITALY_TOKEN. Exits with 0
    if the node accepts every token given, 1 if it refuses one, or will once authentication is
    enforced, 2 if the question makes no sense, 3 if everybody is let in and the node does not say
    what it thinks of the token, 4 if there is no answer, or no trust in a certificate.
    """
    from gitaly.cli.auth import try_token

    patience = patience_seconds
    sys.exit(try_token(address, token_file, config, patience_seconds=patience, as_json=as_json))


@gitaly.group()
def limits() -> None:
    """Questions about concurrency limits."""


@limits.command("suggest")
@click.argument("config")
def suggest_limits(config: str) -> NoReturn:
    """Print limits for the node that CONFIG describes, from what it has counted since its start."""
    from gitaly.cli.limits import suggest_for

    sys.exit(suggest_for(config))


def main(arguments: Any = None) -> NoReturn:  # Any: click's own type for argument lists
    """The console script."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # children come from posix_spawn
    # The core's older way to poll has one thread less between a socket and us: 0.08 ms for a call.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    gitaly(arguments)
    sys.exit(0)
