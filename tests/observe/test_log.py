import io
import json
import os
import re

import pytest

from gitaly.observe.log import make_logger, set_level


def test_a_json_line_has_gitalys_keys() -> None:
    file = io.BytesIO()
    make_logger(file, format="json").info("hello", storage="default")
    line = json.loads(file.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "info", "msg": "hello", "pid": os.getpid(), "storage": "default"}


def test_a_text_line_begins_with_time_level_and_message() -> None:
    file = io.BytesIO()
    make_logger(file, format="text").warning("two words", b="x y", a=1)
    text = file.getvalue().decode()
    assert re.match(r'time=\S+ level=warning msg="two words" a=1 b="x y" pid=\d+\n$', text)


def test_levels_below_the_configured_one_are_not_written() -> None:
    file = io.BytesIO()
    logger = make_logger(file, format="json", level="error")
    logger.info("quiet")
    logger.error("loud")
    assert json.loads(file.getvalue())["msg"] == "loud"


def test_long_errors_are_cut() -> None:
    file = io.BytesIO()
    make_logger(file, format="json").error("failed", error="x" * 5000)
    assert json.loads(file.getvalue())["error"] == "x" * 1024 + "... (truncated)"


def test_what_json_does_not_know_is_written_as_text() -> None:
    file = io.BytesIO()
    make_logger(file, format="json").info("odd", value=ValueError("x"), raw=b"\xff")
    assert json.loads(file.getvalue())["value"] == "x"


def test_an_unknown_format_or_level_is_refused() -> None:
    with pytest.raises(ValueError, match='invalid logger format "xml"'):
        make_logger(io.BytesIO(), format="xml")
    with pytest.raises(KeyError):
        make_logger(io.BytesIO(), level="loud")


def test_the_level_changes_for_every_logger_that_was_bound_before() -> None:
    file = io.BytesIO()
    logger = make_logger(file, format="json", level="info")
    bound = logger.bind(part="cache")
    bound.debug("one")
    set_level(logger, "debug")
    bound.debug("two")
    set_level(logger, "error")
    bound.info("three")
    logger.error("four")
    assert [json.loads(line)["msg"] for line in file.getvalue().splitlines()] == ["two", "four"]


def test_the_level_of_one_logger_is_not_that_of_another() -> None:
    quiet, loud = io.BytesIO(), io.BytesIO()
    one, other = make_logger(quiet), make_logger(loud)
    set_level(other, "debug")
    one.debug("nothing")
    other.debug("something")
    assert quiet.getvalue() == b""
    assert b"something" in loud.getvalue()
