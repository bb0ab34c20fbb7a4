"""How many files a node may open, and what it starts."""

import io
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gitaly.observe.log import make_logger
from gitaly.supervision.open_files import OpenFiles, announce
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import stalled_fetch
from tests.e2e.node_process import BIN
from tests.supervision.service import Service

SOFT = 777
LIMITED = f"""
import os, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({SOFT}, hard))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_the_node_takes_all_it_may_have_and_git_gets_what_is_usual(
    service: Callable[..., Service], big: Path
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    node = service(program=[sys.executable, "-c", LIMITED, BIN / "gitaly"])
    node.start()
    reported = node.logged("limit of open files")
    assert (reported["open_files"], reported["open_files_of_git"]) == (hard, SOFT)
    assert resource.prlimit(node.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    make_bare(node, "r.git", source=big)
    with stalled_fetch(Way(node=node, repository="r.git")) as talk:
        limits = {resource.prlimit(x, resource.RLIMIT_NOFILE) for x in talk.git_at_the_node()}
    assert limits == {(SOFT, hard)}
    node.restart()  # the new process knows what is usual, too
    assert node.logged("limit of open files", node.pid)["open_files_of_git"] == SOFT
    node.stop()


def test_a_low_limit_is_warned_of_with_what_to_do() -> None:
    log = io.BytesIO()
    announce(OpenFiles(inherited=1024, limit=4096), make_logger(log, format="json"))
    assert b'"level":"warning"' in log.getvalue()
    assert b"few files may be open at once: 4096, where 15000 are sensible" in log.getvalue()
    assert b"LimitNOFILE=15000" in log.getvalue()


def test_enough_is_no_reason_to_warn() -> None:
    log = io.BytesIO()
    announce(OpenFiles(inherited=1024, limit=15_000), make_logger(log, format="json"))
    assert b'"level":"info"' in log.getvalue()


def test_the_limit_of_a_hard_limit_is_not_passed() -> None:
    program = (
        "import resource\n"
        "from gitaly.supervision.open_files import raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "OpenFiles(inherited=100, limit=300) (300, 300)\n"
