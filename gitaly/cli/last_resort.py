"""The end of a process whose threads wait for a file system that answers no more.

A thread cannot be stopped, and Python waits for its threads before it ends; so do those who count
on the end of what they have begun. Without this nothing but SIGKILL would end such a process.
"""

import os
import sys
import threading
import time
from typing import Final

from gitaly.observe.log import Logger
from gitaly.observe.stacks import thread_places

SECONDS: Final = 10.0  # the end of a node whose storages answer takes a tenth of a second


def leave_soon(code: int, logger: Logger) -> None:
    """End the process with this exit code in ten seconds, if it has not ended until then.

    To be called when there is nothing left to do but to end.
    """

    def leave() -> None:
        time.sleep(SECONDS)
        innermost = [place.stack[-1] for place in thread_places() if place.stack]
        logger.error(
            "threads do not come to their end: the process ends without them", at=innermost
        )
        sys.stdout.flush()
        os._exit(code)

    threading.Thread(target=leave, name="last-resort", daemon=True).start()
