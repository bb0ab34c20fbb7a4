"""`gitaly demo`: a node that serves at once, with everything of its own below one directory."""

import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from typing import Final

from gitaly.cli.serve import COMMAND_SECONDS, run
from gitaly.cli.terminal import has_terminal
from gitaly.config import ConfigError, load, require_startable
from gitaly.errors import NodeError
from gitaly.node import Node
from gitaly.observe.log import make_logger
from gitaly.supervision.supervision import Supervision

ADDRESS: Final = "127.0.0.1:8075"  # or GITALY_DEMO_ADDRESS
METRICS: Final = "127.0.0.1:9236"  # or GITALY_DEMO_METRICS_ADDRESS
STORAGE: Final = "default"
REPOSITORY: Final = "demo.git"
CONFIG: Final = """\
# Written by `gitaly demo`; edit it as you like, it is kept. kill -HUP has a demo that runs read it.
socket_path = "{directory}/gitaly.socket"
listen_addr = "{address}"
prometheus_listen_addr = "{metrics}"
runtime_dir = "{directory}/run"

[[storage]]
name = "{storage}"
path = "{directory}/repositories"

[logging]
format = "text"
level = "info"
"""
HELP: Final = """
A node serves {directory}/repositories, without GitLab and without a token. In another terminal:

    export PATH="{programs}:$PATH"
    git clone gitaly://{address}/{storage}/{repository}
    cd demo && git commit --allow-empty -m hello && git push

More repositories: git init --bare {repositories}/NAME.git
Metrics: http://{metrics}/metrics     Log: {directory}/gitaly.log     Stop: Ctrl-C
"""


def serve_demo(directory: str) -> int:
    """Make what is missing, serve, and say what to type; the exit code."""
    directory = os.path.abspath(directory)
    address = os.environ.get("GITALY_DEMO_ADDRESS", ADDRESS)
    metrics = os.environ.get("GITALY_DEMO_METRICS_ADDRESS", METRICS)
    path = os.path.join(directory, "config.toml")
    try:
        supervision = Supervision.begin(os.environ, os.getpid())
        _furnish(directory, path, address, metrics)
        config = load(path)
        require_startable(config)
    except (NodeError, OSError, subprocess.CalledProcessError) as error:
        print(f"gitaly demo: {error}", file=sys.stderr)
        return 1

    def say(_: Node) -> None:
        print(
            HELP.format(
                directory=directory,
                repositories=shlex.quote(os.path.join(directory, "repositories")),
                programs=os.path.dirname(os.path.abspath(sys.argv[0])),
                address=config.listen_addr,
                metrics=config.prometheus_listen_addr,
                storage=STORAGE,
                repository=REPOSITORY,
            ),
            flush=True,
        )

    # Of a terminal that is closed we hear by the signal by which others ask for a reload. Whoever
    # uses nohup wants us to outlive it.
    outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or not has_terminal()

    def is_deserted() -> bool:
        return not (outlives or has_terminal())

    def complain(error: NodeError) -> None:
        print(f"gitaly demo: {error}", file=sys.stderr)

    log_path = os.path.join(directory, "gitaly.log")
    with open(log_path, "ab", buffering=0) as log:
        logger = make_logger(log, format="text")
        code = run(
            config,
            logger,
            supervision,
            read=partial(load, path, COMMAND_SECONDS),
            is_deserted=is_deserted,
            on_ready=say,
            on_error=complain,
        )
    if code:
        print(f"gitaly demo: the node did not end well, see {log_path}", file=sys.stderr)
    return code


def _furnish(directory: str, config: str, address: str, metrics: str) -> None:
    if '"' in directory or "\\" in directory:
        raise ConfigError(f"the path {directory!r} holds a quote or a backslash")
    for name in ("repositories", "run"):
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    if not os.path.exists(config):
        with open(config, "x") as file:
            file.write(
                CONFIG.format(
                    directory=directory, address=address, metrics=metrics, storage=STORAGE
                )
            )
    repository = os.path.join(directory, "repositories", REPOSITORY)
    if not os.path.exists(repository):
        _make_repository(repository)


def _make_repository(path: str) -> None:
    """One with a commit, so that there is something to clone."""
    init = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", path]
    subprocess.run(init, check=True)
    git = ["git", "--git-dir", path]
    text = b"# Demo\n\nServed by a Git storage node.\n"
    blob = _output([*git, "hash-object", "-w", "--stdin"], text)
    tree = _output([*git, "mktree"], f"100644 blob {blob}\tREADME.md\n".encode())
    author = ["-c", "user.name=Demo", "-c", "user.email=demo@localhost"]
    commit = _output([*git, *author, "commit-tree", tree, "-m", "A first commit"])
    subprocess.run([*git, "update-ref", "refs/heads/main", commit], check=True)


def _output(argv: list[str], data: bytes = b"") -> str:
    done = subprocess.run(argv, input=data, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()
