from datetime import timedelta

import pytest

from gitaly.config import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 3600),
        ("90m", 5400),
        ("1h30m0.5s", 5400.5),
        ("300ms", 0.3),
        ("15us", 0.000015),
        ("15µs", 0.000015),
        ("15μs", 0.000015),
        ("2000ns", 0.000002),
        ("-5m", -300),
        ("+5s", 5),
        (".5s", 0.5),
        ("1.s", 1),
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("bad value", 'time: invalid duration "bad value"'),
        ("-", 'time: invalid duration "-"'),
        (".", 'time: invalid duration "."'),
        ("--5s", 'time: invalid duration "--5s"'),
        ("300", 'time: missing unit in duration "300"'),
        ("1m30", 'time: missing unit in duration "1m30"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("5S", 'time: unknown unit "S" in duration "5S"'),
        ("1 h", 'time: unknown unit " h" in duration "1 h"'),
        ("1e3s", 'time: unknown unit "e" in duration "1e3s"'),
        ("2562047h48m", 'time: invalid duration "2562047h48m"'),
    ],
)
def test_a_text_that_is_no_duration_is_refused_in_gos_words(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_duration(text)
    assert str(raised.value) == message


def test_the_shortest_duration_does_not_become_zero() -> None:
    assert parse_duration("1ns") == timedelta(microseconds=1)
    assert parse_duration("-1ns") == timedelta(microseconds=-1)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=24), "24h0m0s"),
        (timedelta(hours=25), "25h0m0s"),
        (timedelta(minutes=1), "1m0s"),
        (timedelta(minutes=90), "1h30m0s"),
        (timedelta(seconds=-1), "-1s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(seconds=61.25), "1m1.25s"),
        (timedelta(milliseconds=300), "300ms"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(microseconds=15), "15µs"),
        (timedelta(microseconds=-15), "-15µs"),
    ],
)
def test_a_duration_is_printed_as_go_prints_it(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text
