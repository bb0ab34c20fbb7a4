"""What `gitaly top` draws, and how it words numbers and names."""

import pytest

from gitaly.cli.nodes import Process
from gitaly.cli.top_screen import BY_HEADING, BY_KEY, HELP, rows_of, screen
from gitaly.cli.wording import clipped, printable, size, span, width_of
from gitaly.observe.snapshot import CallState, NodeState, Snapshot

CLONE = CallState(
    correlation_id="abc",
    rpc="SSHService/SSHUploadPackWithSidechannel",
    repository="default/@hashed/aa/bb/aabb.git",
    client="gitlab-shell",
    user="jane",
    peer="10.0.0.7:1001",
    phase="running",
    seconds=12.0,
    cpu_seconds=3.0,
    memory_bytes=64 << 20,
    sent_bytes=200 << 20,
    commands=("git upload-pack",),
)
READ = CallState(
    correlation_id="def",
    rpc="CommitService/ListCommits",
    repository="default/b.git",
    client="gitlab-web",
    phase="queued",
    waits_for="perRPC/gitaly.CommitService/ListCommits",
    seconds=40.0,
    queue_seconds=39.5,
)


def process(*calls: CallState, taken: float = 1000.0, pid: int = 7, **more: int) -> Process:
    node = NodeState(pid=pid, version="18.9.0", loop_lag_seconds=0.002, descriptors_limit=1024)
    total = more.get("calls_total", len(calls))
    return Process(
        pid=pid,
        snapshot=Snapshot(
            taken=taken, node=node, calls=calls, calls_total=total, wrong=(), calls_queued=1
        ),
    )


def test_every_call_is_a_line_and_names_are_readable() -> None:
    lines = screen([process(CLONE, READ)], (), BY_KEY["t"])
    assert lines[0].startswith("gitaly 18.9.0  process 7  serving")
    assert lines[1].startswith("calls 2  queued 1")
    assert lines[2].split()[:3] == ["TIME*", "QUEUED", "CPU%"]
    assert lines[3].split() == [
        *("40.0", "s", "39.5", "s", "queued", "default/b.git", "gitlab-web", "ListCommits")
    ]
    assert "64.0 MiB" in lines[4]
    assert "200 MiB" in lines[4]
    assert "default/@hashed/aa/bb/aabb.git" in lines[4]
    assert lines[4].endswith("SSHUploadPackWithSidechannel [git upload-pack]")


@pytest.mark.parametrize(
    ("column", "first"), [("time", READ), ("cpu", CLONE), ("queued", READ), ("sent", CLONE)]
)
def test_calls_are_sorted_by_the_column_that_was_asked_for(column: str, first: CallState) -> None:
    rows = rows_of([process(CLONE, READ)], (), BY_HEADING[column])
    assert rows[0].call == first


def test_rates_are_those_since_the_last_look() -> None:
    later = CallState(
        correlation_id="abc",
        rpc=CLONE.rpc,
        peer=CLONE.peer,
        seconds=14.0,
        cpu_seconds=4.0,
        sent_bytes=(200 << 20) + (2 << 20),
    )
    [row] = rows_of([process(later, taken=1002.0)], [process(CLONE)], BY_KEY["t"])
    assert (row.cpu_share, row.sent_per_second) == (0.5, 1 << 20)


def test_another_call_with_the_same_id_has_no_rate_yet() -> None:
    younger = CallState(correlation_id="abc", rpc=CLONE.rpc, peer=CLONE.peer, seconds=1.0)
    [row] = rows_of([process(younger, taken=1002.0)], [process(CLONE)], BY_KEY["t"])
    assert (row.cpu_share, row.sent_per_second) == (None, None)


def test_a_screen_holds_what_fits_and_says_what_does_not() -> None:
    many = [process(*[READ] * 500, calls_total=5000)]
    lines = screen(many, (), BY_KEY["t"], width=80, height=24)
    assert len(lines) == 24
    assert all(width_of(line) <= 80 for line in lines)
    assert lines[-1] == clipped(HELP, 80)
    assert lines[-2] == "… and 481 more"
    assert "calls 5000 (the oldest 500 below)" in lines[1]


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 10])
@pytest.mark.parametrize("width", [1, 2, 10, 300])
def test_a_tiny_terminal_gets_what_fits(width: int, height: int) -> None:
    lines = screen([process(CLONE, READ)], (), BY_KEY["t"], width=width, height=height)
    assert len(lines) == height
    assert all(width_of(line) <= width for line in lines)


def test_an_old_process_that_drains_and_one_that_does_not_answer_are_shown_too() -> None:
    silent = Process(pid=9, problem="process 9 does not answer within 5 seconds")
    lines = screen([process(CLONE), process(READ, pid=8), silent], (), BY_KEY["t"])
    assert [line.split("  ")[1] for line in lines if line.startswith("gitaly")] == [
        "process 7",
        "process 8",
    ]
    assert "! process 9 does not answer within 5 seconds" in lines
    assert len([line for line in lines if "git" in line and "default/" in line]) == 2


def test_a_hostile_name_does_not_reach_the_terminal() -> None:
    name = "a\x1b]0;owned\x07\u202egit\n\x9b2J"
    hostile = CallState(repository=name, client=name, user=name, rpc=f"A/{name}")
    for line in screen([process(hostile)], (), BY_KEY["t"]):
        assert line.isprintable()
    assert printable(name) == r"a\x1b]0;owned\x07\u202egit\n\x9b2J"


def test_a_long_repository_keeps_its_end() -> None:
    name = "default/@hashed/" + "ab" * 40 + ".git"
    text = screen([process(CallState(repository=name))], (), BY_KEY["t"])[-1]
    assert f"…{name[-33:]}" in text


def test_wide_characters_count_twice_and_marks_not_at_all() -> None:
    assert (width_of("日本"), width_of("e\u0301")) == (4, 1)
    assert clipped("日本語", 5) == "日本…"
    assert clipped("abc", 3) == "abc"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (150 << 20, "150 MiB"),
        (1 << 60, "1048576 TiB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1.0, "0 ms"),
        (0.0034, "3 ms"),
        (12.34, "12.3 s"),
        (720.0, "12 min"),
        (11520.0, "3 h 12 min"),
        (5 * 86400.0, "5 days"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text
