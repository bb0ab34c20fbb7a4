"""A node whose event loop stands still from its start on, until somebody writes to a pipe.

python stuck.py CONFIG FIFO
"""

import asyncio
import os
import sys
from functools import partial

from gitaly.cli.serve import run
from gitaly.config import load
from gitaly.node import Node
from gitaly.observe.log import make_logger
from gitaly.supervision.supervision import Supervision


def main(config: str, fifo: str) -> int:
    def hold_the_loop() -> None:
        with open(fifo, "rb") as pipe:
            pipe.read()

    def ready(_: Node) -> None:
        asyncio.get_running_loop().call_soon(hold_the_loop)

    logger = make_logger(sys.stdout.buffer, format="json")
    supervision = Supervision.begin(os.environ, os.getpid())
    return run(load(config), logger, supervision, read=partial(load, config), on_ready=ready)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
