import random
from collections.abc import Iterator

import pytest

from gitaly.git.diffs import DiffParser, FileDiff, Limits
from tests.git.diffs.plain_limits import PlainReader, Shown
from tests.git.diffs.support import files_of

PATCH = b"@@ -1 +1 @@\n-x\n+y\n"  # 18 bytes; 2 lines of 6 bytes
WITHIN = Limits(
    enforce=True,
    max_files=100,
    max_lines=100,
    max_bytes=1000,
    max_patch_bytes=1000,
    safe_max_files=100,
    safe_max_lines=100,
    safe_max_bytes=1000,
)


def output_of(*patches: bytes, extension: bytes = b"txt") -> bytes:
    """Modified files f0.txt, f1.txt … with these patches."""
    ids = b"1" * 40 + b" " + b"2" * 40
    names = [b"f%d.%b" % (number, extension) for number in range(len(patches))]
    raw = b"".join(b":100644 100644 %b M\t%b\n" % (ids, name) for name in names)
    return (
        raw
        + b"\n"
        + b"".join(
            b"diff --git a/%b b/%b\nindex 1..2 100644\n--- a/%b\n+++ b/%b\n" % ((name,) * 4) + patch
            for name, patch in zip(names, patches, strict=True)
        )
    )


def shown(output: bytes, limits: Limits, size: int = 1 << 20) -> list[FileDiff]:
    parser = DiffParser(limits, large_patch_bytes=150)
    events = []
    for start in range(0, len(output), size):
        if not parser.is_done:
            events += parser.receive(output[start : start + size])
    return files_of(events + parser.finish())


def limits_with(**more: object) -> Limits:
    fields = {name: getattr(WITHIN, name) for name in WITHIN.__slots__}
    return Limits(**(fields | more))


def states(files: list[FileDiff]) -> list[str]:
    return [
        "overflow" if x.overflow else "too large" if x.too_large else
        "collapsed" if x.collapsed else "shown"
        for x in files
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["shown", "shown", "shown"]),
        ({"max_files": 2}, ["shown", "shown", "overflow"]),
        ({"max_lines": 4}, ["shown", "overflow"]),
        ({"max_lines": 5}, ["shown", "shown", "overflow"]),
        ({"max_bytes": 12}, ["shown", "overflow"]),
        ({"max_bytes": 13}, ["shown", "shown", "overflow"]),
        ({"max_patch_bytes": 18}, ["too large", "too large", "too large"]),
        ({"max_patch_bytes": 19}, ["shown", "shown", "shown"]),
        ({"collapse": True, "safe_max_files": 2}, ["shown", "shown", "collapsed"]),
        ({"collapse": True, "safe_max_lines": 3}, ["shown", "collapsed", "collapsed"]),
        ({"collapse": True, "safe_max_lines": 4}, ["shown", "shown", "collapsed"]),
        ({"collapse": True, "safe_max_bytes": 11}, ["shown", "collapsed", "shown"]),
        ({"enforce": False, "max_files": 0, "max_patch_bytes": 0}, ["shown", "shown", "shown"]),
        ({"enforce": False, "collapse": True, "safe_max_files": 0}, ["collapsed"] * 3),
        ({"patches_only": True, "max_files": 0, "max_lines": 0}, ["shown", "shown", "shown"]),
    ],
)
def test_each_limit_has_its_effect_at_its_own_number(
    more: dict[str, object], expected: list[str]
) -> None:
    assert states(shown(output_of(PATCH, PATCH, PATCH), limits_with(**more))) == expected


def test_what_is_pruned_keeps_its_counts_and_no_text() -> None:
    [file] = shown(output_of(PATCH), limits_with(max_patch_bytes=1))
    assert (file.patch, file.lines_added, file.lines_removed) == (b"", 1, 1)
    assert file.patch_bytes == len(PATCH)


def test_the_overflow_marker_says_nothing_else() -> None:
    assert shown(output_of(PATCH), limits_with(max_files=0)) == [
        FileDiff(None, is_pruned=True, overflow=True)
    ]


def test_all_paths_are_collected_beyond_the_limits_if_asked_for() -> None:
    output = output_of(PATCH, b"@@ -1,2 +1 @@\n-x\n--- like a name\n+y\n", PATCH)
    files = shown(output, limits_with(max_files=1, collect_all_paths=True))
    assert states(files) == ["shown", "overflow", "overflow"]
    assert [file.patch for file in files] == [PATCH, b"", b""]
    assert [file.lines_removed for file in files] == [1, 2, 1]


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        (b"a/b.rb", 1),
        (b"b.tar.rb", 1),
        (b".rb", 1),
        (b"a.rb/Dockerfile", 2),
        (b"Dockerfile", 2),
        (b"Dockerfile.txt", 9),
        (b"b.RB", 9),
    ],
)
def test_an_extension_or_a_name_may_have_its_own_limit(path: bytes, limit: int) -> None:
    limits = Limits(max_patch_bytes=9, max_patch_bytes_of={".rb": 1, "Dockerfile": 2})
    assert limits.patch_bytes(path) == limit


def test_nobody_gets_more_than_the_upper_bounds_but_for_an_extension() -> None:
    huge = 2**31 - 1
    limits = Limits(
        max_files=huge,
        max_lines=huge,
        max_bytes=huge,
        max_patch_bytes=huge,
        max_patch_bytes_of={".rb": huge},
        safe_max_files=huge,
        safe_max_lines=huge,
        safe_max_bytes=huge,
    ).clamped()
    assert (limits.max_files, limits.max_lines, limits.max_bytes) == (5000, 250000, 25600000)
    assert (limits.safe_max_files, limits.safe_max_lines) == (500, 25000)
    assert (limits.safe_max_bytes, limits.max_patch_bytes) == (2560000, 512000)
    assert limits.patch_bytes(b"a.rb") == huge


def patches(choices: random.Random) -> Iterator[bytes]:
    for _ in range(10):
        lines = [
            choices.choice([b"--- x", b"+++ y", b"-a", b"+b", b" c", b" diff --git ", b" @@"])
            for _ in range(choices.choice([1, 5, 40]))
        ]
        yield b"@@ -1 +1 @@ f\n" + b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("seed", range(150))
def test_any_limits_show_what_a_plain_reading_of_the_rules_shows(seed: int) -> None:
    choices = random.Random(seed)
    output = output_of(*patches(choices), extension=choices.choice([b"a", b"b"]))
    limits = Limits(
        enforce=choices.choice([True, False]),
        collapse=choices.choice([True, False]),
        collect_all_paths=choices.choice([True, False]),
        max_files=choices.choice([-1, 0, 3, 8, 100]),
        max_lines=choices.choice([0, 10, 60, 1000]),
        max_bytes=choices.choice([0, 50, 400, 9999]),
        max_patch_bytes=choices.choice([-5, 0, 20, 60, 9999]),
        max_patch_bytes_of=choices.choice([{}, {".a": 40}, {".b": 0}]),
        safe_max_files=choices.choice([0, 3, 100]),
        safe_max_lines=choices.choice([0, 20, 100]),
        safe_max_bytes=choices.choice([0, 100, 300, 9999]),
    )
    found = [
        Shown(
            *(x.entry.new_path if x.entry else None, x.patch, x.lines_added, x.lines_removed),
            *(x.collapsed, x.too_large, x.overflow),
        )
        for x in shown(output, limits, choices.choice([7, 100, 100000]))
    ]
    assert found == PlainReader(output, limits).files_shown()
