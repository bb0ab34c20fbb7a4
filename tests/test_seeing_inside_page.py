"""What docs/seeing-inside.md shows is what the commands print."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitaly.cli.main import gitaly
from gitaly.cli.nodes import Process
from gitaly.cli.status import judge, lines_of
from gitaly.cli.top_screen import BY_KEY, COLUMNS, screen
from gitaly.observe.health import COUNTED
from gitaly.observe.log import RenderText
from gitaly.observe.snapshot import MOST_CALLS
from gitaly.state_dump import lines_of as lines_of_dump
from tests.observe.example import EXAMPLE

PAGE = (Path(__file__).resolve().parent.parent / "docs/seeing-inside.md").read_text()
NIGHT = [Process(pid=4711, snapshot=EXAMPLE)]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def session(command: str) -> list[str]:
    """What the page shows below a command."""
    _, _, rest = PAGE.partition(f"$ {command}\n")
    return rest.partition("\n```")[0].splitlines()


def test_the_session_of_status_is_what_it_prints() -> None:
    assert session("gitaly status /etc/gitaly/config.toml") == list(lines_of(judge(NIGHT)))


def test_the_session_of_top_is_what_it_prints() -> None:
    shown = session("gitaly top /etc/gitaly/config.toml --once")
    assert shown == screen(NIGHT, (), BY_KEY["t"])


def test_the_lines_of_a_dump_about_calls_and_queues_are_what_is_logged() -> None:
    render = RenderText()
    logged = [
        render(None, "warning", {"msg": f"state dump: {message}", **fields}).decode()
        for message, fields in lines_of_dump(EXAMPLE)
    ]
    shown = re.findall(r'^msg="state dump: (?:node|call|queue)".*$', PAGE, re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) <= {line.removeprefix("time= level= ") for line in logged}


def test_every_command_and_option_of_the_page_exists() -> None:
    used = re.findall(r"gitaly (status|top)\b([^\n`]*)", PAGE)
    assert {command for command, _ in used} == {"status", "top"}
    for command in ("status", "top"):
        said = CliRunner().invoke(gitaly, [command, "--help"]).output
        options = {x for c, rest in used if c == command for x in re.findall(r"--[a-z]+", rest)}
        assert all(option in said for option in options)
    said = CliRunner().invoke(gitaly, ["top", "--help"]).output
    for option in ("--interval", "--sort", "--once"):
        assert option in said
        assert f"`{option}" in PAGE or f"({option}" in PAGE


def test_the_columns_of_the_page_are_those_of_top() -> None:
    table = PAGE.partition("| Column | Meaning |")[2].partition("\n\n")[0]
    named = re.findall(r"`([A-Z%/]+)`", "\n".join(x.split("|")[1] for x in table.split("\n")[2:]))
    assert set(named) <= {column.heading for column in COLUMNS}
    assert set(named) >= {"TIME", "QUEUED", "CPU", "MEMORY", "SENT", "CLIENT", "CALL"}


def test_the_kinds_of_refusals_of_the_page_are_those_that_there_are() -> None:
    paragraph = PAGE.partition("The kinds: ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+)` \(", paragraph)) == set(COUNTED)


def test_the_exit_codes_of_the_page_are_those_that_the_command_explains() -> None:
    codes = re.findall(r"^\| ([0-9]) \|", PAGE, re.MULTILINE)
    said = CliRunner().invoke(gitaly, ["status", "--help"]).output
    assert re.findall(r"\b([0-9]) [a-z]", said) == codes


def test_the_number_of_calls_shown_is_true() -> None:
    assert f"The oldest {MOST_CALLS} calls are shown" in PAGE
