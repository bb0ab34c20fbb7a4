"""The limits of a node, as its configuration makes them."""

import asyncio
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly.config import load_text
from gitaly.limiting import Limiting, thresholds_of
from gitaly.limits import Burden
from gitaly.observe.log import make_logger
from tests.limits.usages import Usage

LIST = "/gitaly.RefService/ListRefs"
REPLICATE = "/gitaly.RepositoryService/ReplicateRepository"
CURRENT = "gitaly_concurrency_limiting_current_limit"
ADAPTIVE = "adaptive = true\ninitial_limit = 5\nmin_limit = 2\nmax_limit = 9\nmax_queue_size = 1\n"


async def nobody() -> Sequence[Burden]:
    return ()


class Made:
    """The limits of a text, and what they leave behind."""

    def __init__(self, text: str) -> None:
        self.registry, self.file = CollectorRegistry(), io.BytesIO()
        logger = make_logger(self.file, format="json")
        self.limiting = Limiting(load_text(text), self.registry, logger)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def limit_of(self, rpc: str, *, has_username: bool = True) -> int | None:
        limits = self.limiting.methods[rpc]
        limiter = limits.limiter(has_username=has_username, tells_apart=True)
        return limiter.limit if limiter is not None else None


def table(text: str, rpc: str = LIST) -> str:
    return f'[[concurrency]]\nrpc = "{rpc}"\n{text}'


def test_without_tables_only_replication_is_limited() -> None:
    made = Made("")
    assert list(made.limiting.methods) == [REPLICATE]
    assert made.limit_of(REPLICATE) == 1


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max_concurrency = 7", 7),
        ("max_per_repo = 6", 6),
        ("max_concurrency = 7\nmax_per_repo = 6", 7),
        ("max_concurrency = 0", None),
        ("", None),
        (ADAPTIVE, 5),
    ],
)
def test_a_table_says_how_many_may_run(text: str, limit: int | None) -> None:
    assert Made(table(text)).limit_of(LIST) == limit


def test_a_method_that_does_not_exist_is_told_of() -> None:
    made = Made(table("max_concurrency = 7\n", rpc="/gitaly.RefService/ListReffs") + table(""))
    made.limiting.warn_of_unknown({LIST, REPLICATE})
    (line,) = made.lines()
    assert (line["level"], line["rpcs"]) == ("warning", "/gitaly.RefService/ListReffs")


def test_of_two_tables_about_one_method_the_last_counts() -> None:
    assert Made(table("max_concurrency = 7\n") + table("max_concurrency = 3")).limit_of(LIST) == 3


def test_callers_without_a_name_may_be_the_only_ones_who_are_limited() -> None:
    text = table("[concurrency.unauthenticated]\nmax_per_repo = 2\nmax_queue_size = 1")
    made = Made(text)
    assert made.limit_of(LIST) is None
    assert made.limit_of(LIST, has_username=False) == 2


async def test_adaptive_limits_are_shown_under_gitalys_names() -> None:
    text = (
        table(f"{ADAPTIVE}[concurrency.unauthenticated]\n{ADAPTIVE}")
        + f"[pack_objects_limiting]\n{ADAPTIVE}[pack_objects_limiting.unauthenticated]\n{ADAPTIVE}"
    )
    made = Made(text)

    async def usage() -> Usage:
        return Usage()

    async with made.limiting.moving(usage, nobody):
        for name in (f"perRPC{LIST}", "packObjects"):
            for suffix in ("", "-unauthenticated"):
                labels = {"limit": f"{name}{suffix}"}
                assert made.registry.get_sample_value(CURRENT, labels) == 5
    assert made.lines() == []


async def test_without_adaptive_limits_there_is_no_series_of_them() -> None:
    made = Made(table("max_concurrency = 7"))
    async with made.limiting.moving(None, nobody):
        names = {family.name for family in made.registry.collect()}
    assert CURRENT not in names
    assert made.lines() == []


async def test_an_adaptive_limit_without_a_control_group_is_told_of() -> None:
    made = Made(table(ADAPTIVE))
    async with made.limiting.moving(None, nobody):
        (line,) = made.lines()
    assert line["level"] == "warning"
    assert line["msg"].endswith("limits only rise, and no load is shed; configure [cgroups]")


def test_thresholds_have_the_defaults_of_the_reference() -> None:
    thresholds = thresholds_of(load_text(""))
    assert (thresholds.throttled_ratio, thresholds.anon_ratio) == (0.5, 0.6)
    assert thresholds.pressures == {}


def test_thresholds_are_the_operators() -> None:
    text = (
        "[adaptive_limiting]\ncpu_throttled_threshold = 0.3\nmemory_threshold = 0.8\n"
        "[adaptive_limiting.psi_pressure.cpu]\nenabled = true\ncritical_threshold = 60.0\n"
    )
    thresholds = thresholds_of(load_text(text))
    assert (thresholds.throttled_ratio, thresholds.anon_ratio) == (0.3, 0.8)
    cpu = thresholds.pressures["cpu"]
    assert (cpu.warning, cpu.backoff, cpu.critical) == (20.0, 25.0, 60.0)


async def test_a_limit_that_comes_later_limits_the_calls_that_come_then() -> None:
    made = Made("")
    made.limiting.adopt(load_text(table("max_concurrency = 7")))
    assert made.limit_of(LIST) == 7
    made.limiting.adopt(load_text(""))
    assert list(made.limiting.methods) == [REPLICATE]


async def test_a_table_that_comes_back_still_counts_those_who_ran_without_it() -> None:
    made = Made(table("max_concurrency = 1"))
    limiter = made.limiting.methods[LIST].authenticated
    assert limiter is not None
    turn = await limiter.enter("a")
    made.limiting.adopt(load_text(""))
    made.limiting.adopt(load_text(table("max_concurrency = 1")))
    assert made.limiting.methods[LIST].authenticated is limiter
    second = asyncio.create_task(limiter.enter("a"))
    await asyncio.sleep(0)
    assert not second.done()
    limiter.leave(turn)
    limiter.leave(await second)


async def test_a_limit_that_stays_adaptive_stays_where_it_is() -> None:
    made = Made(table(ADAPTIVE))
    limiter = made.limiting.methods[LIST].authenticated
    assert limiter is not None
    limiter.resize(8)
    made.limiting.adopt(
        load_text(table(ADAPTIVE.replace("initial_limit = 5", "initial_limit = 4")))
    )
    assert limiter.limit == 8
    made.limiting.adopt(load_text(table(ADAPTIVE.replace("max_limit = 9", "max_limit = 6"))))
    assert limiter.limit == 6


async def test_limits_begin_and_cease_to_be_adaptive() -> None:
    made = Made(table("max_concurrency = 7"))
    labels = {"limit": f"perRPC{LIST}"}

    async def usage() -> Usage:
        return Usage()

    async with made.limiting.moving(usage, nobody):
        made.limiting.adopt(load_text(table(ADAPTIVE)))
        assert made.limit_of(LIST) == 5
        assert made.registry.get_sample_value(CURRENT, labels) == 5
        made.limiting.adopt(load_text(table("max_concurrency = 7")))
        assert made.limit_of(LIST) == 7
        assert made.registry.get_sample_value(CURRENT, labels) is None


async def test_load_shedding_is_switched_on_while_the_node_runs() -> None:
    made, read = Made(""), asyncio.Event()

    async def usage() -> Usage:
        read.set()
        return Usage()

    async with made.limiting.moving(usage, nobody):
        await asyncio.sleep(0)
        assert not read.is_set()  # there is nothing to do, so nothing is read
        made.limiting.adopt(load_text("[load_shedder]\nenabled = true\n"))
        async with asyncio.timeout(20):
            await read.wait()


def test_a_misspelt_method_is_told_of_again_when_it_comes_with_a_reload() -> None:
    made = Made("")
    made.limiting.warn_of_unknown({LIST, REPLICATE})
    made.limiting.adopt(load_text(table("max_concurrency = 7", rpc="/gitaly.RefService/Lisst")))
    (line,) = made.lines()
    assert line["rpcs"] == "/gitaly.RefService/Lisst"
