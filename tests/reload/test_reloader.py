"""All or nothing, one after the other, whatever goes wrong."""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from gitaly.config import Config, ConfigError, load_text
from gitaly.observe.log import make_logger
from gitaly.reload import Reloader, Simple, Step, Taker

GOOD = 'socket_path = "s"\n[[storage]]\nname = "default"\npath = "/"\n'


class Unwilling:
    """A part that never takes anything."""

    keys = ("hooks.*",)

    def prepare(self, config: Config, running: Config) -> Step:
        raise ConfigError("hooks.custom_hooks_dir: not today")


class Bench:
    """A reloader, and what its parts have got."""

    def __init__(self, *more: Taker, start: str = GOOD) -> None:
        self.taken: list[str] = []
        self.registry, self.file, self.now = CollectorRegistry(), io.BytesIO(), 1000.0
        takers = [
            Simple(keys=("logging.level",), adopt=lambda c: self.taken.append(c.logging.level)),
            Simple(keys=("auth.*",), adopt=lambda c: self.taken.append(c.auth.token)),
            *more,
        ]
        self.reloader = Reloader(
            load_text(start),
            takers,
            self.registry,
            make_logger(self.file, format="json"),
            lambda: self.now,
        )

    async def reload(self, text: str) -> bool:
        return await self.reloader.reload(lambda: load_text(GOOD + text))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"gitaly_config_{name}", labels)


async def test_each_part_gets_the_keys_that_are_its_own() -> None:
    bench = Bench()
    assert await bench.reload('[auth]\ntoken = "t"\n')
    assert bench.taken == ["t"]
    assert bench.reloader.config.auth.token == "t"
    (line,) = bench.lines()
    assert (line["level"], line["msg"]) == ("info", "configuration reloaded")
    assert line["changed"] == "auth.token"
    assert '"t"' not in json.dumps(line)


async def test_where_nothing_has_changed_nothing_is_done() -> None:
    bench = Bench()
    assert await bench.reload("")
    assert bench.taken == []
    assert [line["changed"] for line in bench.lines()] == ["nothing"]


async def test_a_part_that_cannot_keeps_all_others_from_taking_anything() -> None:
    bench = Bench(Unwilling())
    bench.now = 2000.0
    assert not await bench.reload('[auth]\ntoken = "t"\n')
    assert bench.taken == []
    assert bench.reloader.config.auth.token == ""
    (line,) = bench.lines()
    assert line["level"] == "error"
    assert line["msg"] == "configuration not reloaded: the node goes on with the one it has"
    assert line["problems"] == "hooks.custom_hooks_dir: not today"
    assert bench.value("reloads_total", outcome="refused") == 1
    assert bench.value("last_reload_successful") == 0
    assert bench.value("last_reload_success_timestamp_seconds") == 1000


async def test_all_problems_are_told_together() -> None:
    bench = Bench()
    text = (
        '[hooks]\ncustom_hooks_timeout = "-1s"\n[auth]\ntoken = "t"\ntoken_file = "/dev/null"\n'
        '[[concurrency]]\nrpc = "/a.B/C"\nmax_queue_wait = "-1s"\n'
    )
    assert not await bench.reload(text)
    said = bench.lines()[0]["problems"]
    for key in ("hooks.custom_hooks_timeout", "auth.token", "concurrency.[0].max_queue_wait"):
        assert key in said
    assert said.count("custom_hooks_timeout") == 1


async def test_a_good_one_after_a_bad_one_is_taken() -> None:
    bench = Bench()
    assert not await bench.reload("[auth]\ntoken = 3\n")
    assert bench.lines()[0]["problems"].startswith("line 6: ")
    bench.now = 2000.0
    assert await bench.reload('[auth]\ntoken = "t"\n')
    assert bench.value("last_reload_successful") == 1
    assert bench.value("last_reload_success_timestamp_seconds") == 2000
    assert bench.value("reloads_total", outcome="applied") == 1


async def test_what_nobody_takes_waits_for_a_restart_and_is_told_of_each_time() -> None:
    bench = Bench()
    for _ in range(2):
        assert await bench.reload("[prometheus]\ngrpc_latency_buckets = [1.0]\n[typo]\nx = 1\n")
    for line in bench.lines():
        assert line["level"] == "warning"
        assert line["needs_restart"] == "prometheus.grpc_latency_buckets"
        assert line["unknown_keys"] == "typo"
    assert bench.value("keys_waiting_for_restart") == 1
    assert await bench.reload("")
    assert bench.value("keys_waiting_for_restart") == 0


async def test_a_bug_while_it_reads_costs_this_reload_and_no_more() -> None:
    bench = Bench()

    def read() -> Config:
        raise ZeroDivisionError("a bug")

    assert not await bench.reloader.reload(read)
    assert bench.lines()[0]["problems"] == "ZeroDivisionError: a bug"
    assert await bench.reload('[auth]\ntoken = "t"\n')


async def test_a_storage_that_is_wrong_in_the_new_file_is_refused() -> None:
    bench = Bench()
    assert not await bench.reload('[[storage]]\nname = "x"\npath = "/none"\n')
    assert 'storage.[1].path: doesn\'t exist: "/none"' in bench.lines()[0]["problems"]


async def test_a_storage_that_has_gone_away_keeps_nobody_from_rotating_a_token(
    tmp_path: Path,
) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    text = f'socket_path = "s"\n[[storage]]\nname = "default"\npath = "{storage}"\n'
    bench = Bench(start=text)
    storage.rmdir()
    assert await bench.reloader.reload(lambda: load_text(text + '[auth]\ntoken = "t"\n'))
    assert bench.taken == ["t"]


class Slow:
    """A file whose reading takes as long as the test wants."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self.read = 0
        self.began = asyncio.Event()
        self.may_end = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> Config:
        text = self.texts[min(self.read, len(self.texts) - 1)]
        self.read += 1
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.may_end.wait(20)
        return load_text(GOOD + text)


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_wishes_that_come_while_it_reads_are_one_more_reading() -> None:
    bench, wanted = Bench(), asyncio.Event()
    slow = Slow(['[auth]\ntoken = "a"\n', '[auth]\ntoken = "b"\n'])
    async with bench.reloader.following(wanted, slow):
        wanted.set()
        await slow.began.wait()
        wanted.set()
        await asyncio.sleep(0)
        wanted.set()
        slow.may_end.set()
        await wait_for(lambda: len(bench.lines()) == 2)
        assert (slow.read, bench.taken) == (2, ["a", "b"])


async def test_a_reading_that_is_left_in_the_middle_changes_nothing() -> None:
    bench, wanted = Bench(), asyncio.Event()
    slow = Slow(['[auth]\ntoken = "a"\n'])
    async with bench.reloader.following(wanted, slow):
        wanted.set()
        await slow.began.wait()
    slow.may_end.set()
    await asyncio.sleep(0.01)
    assert (bench.taken, bench.lines()) == ([], [])


async def test_a_supervisor_hears_of_the_beginning_and_of_the_end() -> None:
    bench, wanted, heard = Bench(), asyncio.Event(), list[str]()

    class Announcement:
        def __enter__(self) -> None:
            heard.append("RELOADING=1")

        def __exit__(self, *_: object) -> None:
            heard.append("READY=1")

    wanted.set()
    async with bench.reloader.following(wanted, lambda: load_text("["), Announcement):
        await wait_for(lambda: heard == ["RELOADING=1", "READY=1"])
    assert bench.value("reloads_total", outcome="refused") == 1
