"""When a control group is in trouble, by readings with times."""

import pytest

from gitaly.limits.conditions import (
    Conditions,
    Level,
    PressureThresholds,
    Reading,
    Thresholds,
    critical,
    pressure_levels,
)
from tests.limits.usages import GIB, Usage

IO = PressureThresholds(
    warning=10, backoff=20, critical=40, sustain_seconds=30, fast_fall_ratio=0.85
)
THRESHOLDS = Thresholds(pressures={"io": IO})


def judged(*readings: tuple[float, Usage]) -> list[list[tuple[str, str]]]:
    conditions = Conditions(THRESHOLDS)
    return [
        [(event.condition, event.reason) for event in conditions.judge(Reading(at, usage))]
        for at, usage in readings
    ]


THROTTLED = [("CgroupCpu", "condition_cpu_throttling")]


@pytest.mark.parametrize(("seconds", "expected"), [(5.0, []), (5.1, THROTTLED)])
def test_the_cpu_is_short_when_it_is_throttled_for_more_than_half_of_the_time(
    seconds: float, expected: list[tuple[str, str]]
) -> None:
    found = judged((100, Usage(throttled_seconds=7)), (110, Usage(throttled_seconds=7 + seconds)))
    assert found == [[], expected]


def test_counters_that_begin_anew_are_no_event() -> None:
    found = judged((0, Usage(throttled_seconds=900)), (10, Usage(throttled_seconds=9)))
    assert found == [[], []]


@pytest.mark.parametrize(
    ("usage", "reasons"),
    [
        (Usage(anonymous_bytes=int(GIB * 0.59)), []),
        (Usage(anonymous_bytes=int(GIB * 0.61)), ["condition_memory_anon"]),
        (Usage(memory_bytes=GIB, inactive_file_bytes=GIB // 2), []),  # can be dropped
        (Usage(anonymous_bytes=5 * GIB, memory_limit_bytes=None), []),
        (Usage(is_under_oom=True), ["condition_memory_oom"]),
    ],
)
def test_memory_is_short_when_too_much_of_it_cannot_be_dropped(
    usage: Usage, reasons: list[str]
) -> None:
    assert judged((0, usage)) == [[("CgroupMemory", reason) for reason in reasons]]


def test_pressure_must_last_before_limits_fall() -> None:
    readings = [(at, Usage(io_pressure=25)) for at in (0, 10, 20, 30)]
    backoff = [("CgroupPressure", "condition_psi_backoff")]
    assert judged(*readings) == [[], [], [], backoff]


def test_pressure_that_went_away_begins_to_last_anew() -> None:
    levels = ((0, 25), (20, 15), (30, 25), (40, 25))
    assert judged(*((at, Usage(io_pressure=level)) for at, level in levels)) == [[]] * 4


def test_pressure_that_falls_fast_is_left_to_fall() -> None:
    levels = ((0, 39), (10, 39), (20, 39), (30, 32), (40, 31))
    found = judged(*((at, Usage(io_pressure=level)) for at, level in levels))
    assert found[3:] == [[], [("CgroupPressure", "condition_psi_backoff")]]


def test_critical_pressure_counts_at_once() -> None:
    found = judged((0, Usage(io_pressure=40)))
    assert found == [[("CgroupPressure", "condition_psi_critical")]]


def test_a_resource_that_is_not_watched_does_not_count() -> None:
    assert judged((0, Usage(memory_pressure=99))) == [[]]


@pytest.mark.parametrize(
    ("percent", "levels"),
    [(9, []), (10, [Level.WARNING]), (20, [Level.BACKOFF]), (40, [Level.CRITICAL])],
)
def test_pressure_is_logged_by_how_bad_it_is(percent: float, levels: list[Level]) -> None:
    found = pressure_levels(Usage(io_pressure=percent), THRESHOLDS)
    assert [level for _, level in found] == levels


def test_load_is_shed_for_a_new_kill_by_the_kernel_only() -> None:
    one, two = Usage(oom_kills=1), Usage(oom_kills=2)
    assert critical(None, one, THRESHOLDS) is None
    assert critical(one, one, THRESHOLDS) is None
    event = critical(one, two, THRESHOLDS)
    assert event is not None
    assert (event.condition, event.reason) == ("LoadShedderOOMKill", "loadshedder_oom_kill")


def test_load_is_shed_for_critical_pressure() -> None:
    event = critical(None, Usage(io_pressure=41), THRESHOLDS)
    assert event is not None
    assert (event.condition, event.reason) == ("LoadShedderPSI/io", "loadshedder_psi_critical")
    assert critical(None, Usage(io_pressure=39), THRESHOLDS) is None


def test_an_event_says_what_it_was_seen_by() -> None:
    conditions = Conditions(THRESHOLDS)
    (event,) = conditions.judge(Reading(0, Usage(anonymous_bytes=GIB, oom_kills=3)))
    assert event.stats == {
        "stats.memory_usage": GIB // 4,
        "stats.memory_limit": GIB,
        "stats.inactive_file": 0,
        "stats.anon": GIB,
        "stats.anon_ratio": 1.0,
        "stats.oom_kills": 3,
        "stats.memory_threshold": 0.6,
    }
