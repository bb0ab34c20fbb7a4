"""A day of a node, as much of it as fits: everybody works at once, and operators do their part.

Reads whose answers are known, pushes, clones, calls and clones that are broken off, scrapes, looks
at the status and dumps of the state; the file is reloaded all the time, a token comes and goes, and
now and then another process takes over. The whole is `GITALY_SOAK_SECONDS=600`; the suite runs a
part of it.
"""

import os
import random
import shutil
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly.observe.snapshot import from_json
from tests.e2e.clients import Way, run_git
from tests.e2e.conftest import make_bare
from tests.e2e.immutable import questions
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import terminate_group, wait_until
from tests.e2e.reloading import content, hang_up, write
from tests.e2e.soaking import BRANCHES, BROKEN_OFF, Reader, Writer, make_history
from tests.supervision.service import Service, watched

SECONDS = float(os.environ.get("GITALY_SOAK_SECONDS", "10"))
HAND_OVERS = max(1, int(SECONDS // 150))
READERS = 6
RELOAD_SECONDS = min(3.0, SECONDS / 10)
WARM_UP = 0.3  # of the life of a process, before its memory is looked at
GROWTH_BYTES = 40 << 20  # of its memory after that
DESCRIPTORS, THREADS = 6, 16  # more than of an idle node: pools have grown to their size
SECRET, OTHER = "the horse", "another horse"
LEVEL = 'level = "error"'  # a line for each call would fill the disk
CONFIGURATION = f"""
[auth]
tokens = ["{SECRET}"]
[pack_objects_cache]
enabled = true
min_occurrences = 0
max_bytes = 20000000
[pack_objects_limiting]
max_concurrency = 5
[[concurrency]]
rpc = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
max_concurrency = 2
max_queue_size = 100
[[concurrency]]
rpc = "/gitaly.CommitService/ListCommits"
max_concurrency = 3
max_queue_size = 100
"""
# What an operator changes, to and fro; the last one is refused.
EDITS = (
    (f'["{SECRET}"]', f'["{OTHER}", "{SECRET}"]'),
    ("max_concurrency = 2", "max_concurrency = 4"),
    ("max_bytes = 20000000", "max_bytes = 2000000"),
    ("min_occurrences = 0", "min_occurrences = 1"),
    ("max_queue_size = 100", "max_queue_size = -1"),
)


@dataclass
class Life:
    """Of one process: its memory after warming up and at its end."""

    warm_bytes: int = 0
    end_bytes: int = 0

    @property
    def growth_bytes(self) -> int:
        return self.end_bytes - self.warm_bytes


@dataclass
class Soak:
    """A node, and what has become of all that was done to it."""

    node: Service
    page: MetricsPage
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def again_and_again(self, what: str, act: Callable[[], object]) -> Iterator[None]:
        """Do it on a thread of its own for the length of the block."""

        def work() -> None:
            while not self.enough.is_set():
                try:
                    act()
                except Exception as error:  # whatever it is, the test shall show it
                    self.wrong.append(f"{what}: {error!r}")
                else:
                    self.done[what] += 1

        thread = threading.Thread(target=work, name=what)
        thread.start()
        try:
            yield
        finally:
            self.enough.set()
            thread.join()

    def scrape(self) -> None:
        assert "gitaly_config_reloads_total" in self.page.text()
        time.sleep(0.3)

    def look(self) -> None:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.page.port}/status.json", timeout=20
        ) as answer:
            found = from_json(answer.read())
        for text in found.wrong:
            expected = "the node is draining", "the configuration was not reloaded"
            assert text.startswith(expected), text
        time.sleep(0.3)

    def dump(self) -> None:
        """Ask for the state in the log, of which the level leaves nothing."""
        with suppress(ProcessLookupError):  # another one has taken over
            os.kill(self.node.pid, signal.SIGUSR2)
        time.sleep(0.1)

    def operate(self) -> None:
        """From the start of the first process to the end of the last one."""
        for number in range(HAND_OVERS + 1):
            is_last = number == HAND_OVERS
            self.live(SECONDS / 2 if is_last else SECONDS / 2 / HAND_OVERS)
            if not is_last:
                self.hand_over()

    def live(self, seconds: float) -> None:
        self.lives.append(life := Life())
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            if passed > WARM_UP * seconds and not life.warm_bytes:
                life.warm_bytes = self.node.resident_bytes()
            self.change_something()
            time.sleep(RELOAD_SECONDS)
        life.end_bytes = self.node.resident_bytes()
        life.warm_bytes = life.warm_bytes or life.end_bytes

    def change_something(self) -> None:
        """Edit the file, see that it counts, and take it back."""
        old, new = EDITS[self.done["reload"] // 2 % len(EDITS)]
        text = content(self.node)
        is_good = "-1" not in new
        self.reload(text.replace(old, new, 1), "applied" if is_good else "refused")
        self.reload(text, "applied")

    def reload(self, text: str, outcome: str) -> None:
        before = self.page.sum("gitaly_config_reloads_total", outcome=outcome)
        write(self.node, text)
        hang_up(self.node)
        wait_until(
            lambda: self.page.sum("gitaly_config_reloads_total", outcome=outcome) > before,
            f"a reload to be {outcome}",
        )
        self.done["reload"] += 1

    def hand_over(self) -> None:
        """Have another process take over, and wait for the end of the old one."""
        old = self.node.pid
        with watched(old) as ended:
            os.kill(old, signal.SIGUSR1)
            assert ended(), self.node.log()
        self.node.main_pid = int(self.node.pid_file.read_text())
        assert self.node.main_pid != old, self.node.log()
        self.done["hand-over"] += 1


class Cloner:
    """Clones, whole or a part, and now and then gives up in the middle."""

    def __init__(self, way: Way, directory: Path, expected: str) -> None:
        self.broken_off = 0
        self._way, self._directory, self._expected = way, directory, expected
        self._dice = random.Random(11)

    def clone(self) -> None:
        into = self._directory / "copy"
        options = self._dice.choice([(), ("--depth=1",), ("--bare",), ("--filter=blob:none",)])
        cloning = self._way.start("clone", "--quiet", *options, self._way.url, str(into))
        if self._dice.random() < 0.2:
            time.sleep(self._dice.uniform(0, 0.3))
            terminate_group(cloning)
            cloning.communicate()
            self.broken_off += 1
        else:
            _, said = cloning.communicate(timeout=60)
            assert cloning.returncode == 0, said.decode()
            assert run_git("rev-parse", "HEAD", cwd=into) == self._expected
        shutil.rmtree(into, ignore_errors=True)


@pytest.fixture
def soak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soak]:
    directory, page = tmp_path_factory.mktemp("n"), MetricsPage()
    (directory / "tmp").mkdir()
    node = Service(
        directory,
        top=page.configuration,
        extra=CONFIGURATION,
        environment={"TMPDIR": str(directory / "tmp")},
    )
    node.start()
    yield Soak(node, page)
    node.kill_all()


def idle(node: Service) -> tuple[int, int]:
    """How many descriptors and threads it has when nothing is left to do."""
    wait_until(lambda: not node.children(), "git to end at the node")
    return node.descriptors(), len(os.listdir(f"/proc/{node.pid}/task"))


@pytest.mark.timeout(180 + 2 * SECONDS)
def test_a_day_of_a_node_leaves_no_trace_and_no_answer_is_wrong(
    soak: Soak, work: Path, tmp_path: Path
) -> None:
    node = soak.node
    make_history(work)
    for name in ("busy.git", "quiet.git"):
        make_bare(node, name, source=work)
    busy, quiet = (Way(node=node, repository=f"{x}.git", token=SECRET) for x in ("busy", "quiet"))
    quiet.git("ls-remote", quiet.url)
    before = idle(node)
    soak.reload(content(node).replace('format = "json"', f'format = "json"\n{LEVEL}'), "applied")
    repository = Repository(storage_name="default", relative_path="busy.git")
    asked = questions(busy.path, repository, BRANCHES)
    dice, writer, reader = random.Random(7), Writer(busy, work), Reader(node, SECRET.encode())
    cloner = Cloner(quiet, tmp_path, run_git("rev-parse", "HEAD", cwd=quiet.path))

    def read() -> None:
        broken_off = dice.choice(BROKEN_OFF) if dice.random() < 0.2 else ""
        reader.ask(dice.choice(asked), broken_off, dice.uniform(0, 0.01))

    with ExitStack() as stack:
        stack.callback(reader.close)
        stack.enter_context(writer.writing())
        for _ in range(READERS):
            stack.enter_context(soak.again_and_again("read", read))
        for what, act in (
            ("clone", cloner.clone),
            ("scrape", soak.scrape),
            ("look", soak.look),
            ("dump", soak.dump),
        ):
            stack.enter_context(soak.again_and_again(what, act))
        soak.operate()
    after = idle(node)
    growth = [life.growth_bytes for life in soak.lives]
    print(  # noqa: T201 - whoever runs the whole wants the figures
        f"{SECONDS:g} s: {dict(soak.done)}, {cloner.broken_off} clones broken off, "
        f"{writer.rounds} pushes, reads ended {dict(reader.ends)}; "
        f"memory {[f'{life.end_bytes / 1e6:.1f}' for life in soak.lives]} MB, after warming up "
        f"{[f'{grown / 1e6:+.1f}' for grown in growth]} (bound {GROWTH_BYTES / 1e6:.1f}); "
        f"descriptors and threads {before} before, {after} after"
    )
    assert soak.wrong == []
    assert reader.wrong == []
    assert (
        min(soak.done[what] for what in ("read", "clone", "scrape", "look", "dump", "reload")) > 3
    )
    assert writer.rounds > 3
    assert soak.done["hand-over"] == HAND_OVERS
    assert max(growth) <= GROWTH_BYTES
    assert after[0] <= before[0] + DESCRIPTORS
    assert after[1] <= before[1] + THREADS
    assert node.git_running() == []
    wait_until(lambda: not node.leftovers(), f"{node.leftovers()} to be removed")
    assert node.errors() == []
    node.stop()
    assert list((node.directory / "tmp").iterdir()) == []
