"""Git's own output, read in pieces of every size."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.git.diffs import DiffParser, DiffUnreadable, Event, FileDiff, Limits
from tests.git.diffs.support import (
    LEFT,
    RIGHT,
    files_of,
    plain_patches,
    raw_and_patches,
    write_tree,
)
from tests.git.support import Bare, bare

NO_LIMITS = Limits()
EVERYTHING = Limits(
    enforce=True,
    collapse=True,
    max_files=50,
    max_lines=5000,
    max_bytes=50000,
    max_patch_bytes=4000,
    safe_max_files=8,
    safe_max_lines=60,
    safe_max_bytes=900,
)


@pytest.fixture(scope="module")
def output(repository: Bare) -> bytes:
    return raw_and_patches(repository, write_tree(repository, LEFT), write_tree(repository, RIGHT))


def parsed(pieces: Iterator[bytes], limits: Limits, large_patch_bytes: int) -> list[FileDiff]:
    parser = DiffParser(limits, large_patch_bytes=large_patch_bytes)
    events: list[Event] = []
    for piece in pieces:
        if parser.is_done:
            break
        events += parser.receive(piece)
    return files_of(events + parser.finish())


def at_once(output: bytes, limits: Limits = NO_LIMITS) -> list[FileDiff]:
    return parsed(iter([output]), limits, 1 << 20)


def cut(output: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    start = 0
    while start < len(output):
        end = start + next(sizes)
        yield output[start:end]
        start = end


def test_files_come_in_the_order_of_raw_lines_with_what_git_says(output: bytes) -> None:
    found = [
        (file.entry.status, file.entry.old_path, file.entry.new_path)
        for file in at_once(output)
        if file.entry is not None
    ]
    assert found == [
        ("M", b"a/deep/er.txt", b"a/deep/er.txt"),
        ("A", b"added", b"added"),
        ("A", b"added empty", b"added empty"),
        ("M", b"binary", b"binary"),
        ("M", b"dash dash", b"dash dash"),
        ("D", b"deleted", b"deleted"),
        ("M", b"link", b"link"),
        ("A", b"long", b"long"),
        ("M", b"mode", b"mode"),
        ("R", b"moved from", b"moved to"),
        ("M", b"no end", b"no end"),
        ("M", b"odd \xff\ttab", b"odd \xff\ttab"),
        ("D", b"type", b"type"),
        ("A", b"type", b"type"),
        ("M", b"white", b"white"),
        ("M", b"x b/y", b"x b/y"),
    ]


def test_patches_and_counts_are_those_that_a_reader_of_lines_finds(output: bytes) -> None:
    patches = plain_patches(output)
    assert [(file.patch, file.lines_added, file.lines_removed) for file in at_once(output)] == [
        (patch.text, patch.added, patch.removed) for patch in patches
    ]
    assert [file.binary for file in at_once(output)] == [
        patch.text.startswith(b"Binary") for patch in patches
    ]


@pytest.mark.parametrize("limits", [NO_LIMITS, EVERYTHING], ids=["no limits", "limits"])
@pytest.mark.parametrize("large_patch_bytes", [150, 700, 1 << 20])
@pytest.mark.parametrize("seed", range(15))
def test_what_is_found_does_not_depend_on_where_the_pipe_cuts(
    output: bytes, limits: Limits, large_patch_bytes: int, seed: int
) -> None:
    sizes = random.Random(seed)
    most = sizes.choice([1, 3, 40, 500])
    pieces = cut(output, iter(lambda: sizes.randint(1, most), 0))
    assert parsed(pieces, limits, large_patch_bytes) == at_once(output, limits)


def test_a_type_change_is_a_deletion_and_an_addition(output: bytes) -> None:
    deleted, added = (
        file
        for file in at_once(output)
        if file.entry is not None and file.entry.new_path == b"type"
    )
    assert deleted.entry is not None
    assert added.entry is not None
    null = "0" * len(added.entry.new_id)
    assert (deleted.entry.old_mode, deleted.entry.new_mode, deleted.entry.new_id) == (
        *(0o100644, 0),
        null,
    )
    assert (added.entry.old_mode, added.entry.new_mode, added.entry.old_id) == (0, 0o120000, null)
    assert deleted.patch == b"@@ -1 +0,0 @@\n-was a file\n"
    assert added.patch == b"@@ -0,0 +1 @@\n+a link now\n\\ No newline at end of file\n"


def test_words_of_a_porcelain_diff_are_kept(repository: Bare) -> None:
    left = write_tree(repository, {b"a": ("100644", b"one two\nthree\n")})
    right = write_tree(repository, {b"a": ("100644", b"one 2\nthree\n")})
    [file] = at_once(raw_and_patches(repository, left, right, "--word-diff=porcelain"))
    assert file.patch == b"@@ -1,2 +1,2 @@\n one \n-two\n+2\n~\n three\n~\n"
    assert (file.lines_added, file.lines_removed) == (1, 1)


@pytest.mark.parametrize("only_patched", [False, True])
def test_a_file_without_a_patch_is_there_or_not(repository: Bare, only_patched: bool) -> None:
    line = b":100644 100644 %b %b M\t" % (b"1" * 40, b"2" * 40)
    patch = b"diff --git a/b b/b\n@@ -1 +1 @@\n-x\n+y\n"
    parser = DiffParser(NO_LIMITS, only_patched=only_patched)
    events = parser.receive(line + b"a\n" + line + b"b\n" + line + b"c\n\n" + patch)
    found = files_of(events + parser.finish())
    paths = [file.entry.new_path for file in found if file.entry is not None]
    assert paths == ([b"b"] if only_patched else [b"a", b"b", b"c"])
    assert [file.has_patch for file in found] == ([True] if only_patched else [False, True, False])


@pytest.mark.parametrize("cut_at", range(1, 400))
def test_a_cut_before_a_header_does_not_hide_it(cut_at: int) -> None:
    patch = b"diff --git a/a b/a\n@@ -1 +1 @@\n-x\n+y\n" + b" diff --git \n" * 20
    patch += b"diff --git a/b b/b\n@@ -1 +1 @@\n-x\n"
    line = b":100644 100644 %b %b M\t" % (b"1" * 40, b"2" * 40)
    output = line + b"a\n" + line + b"b\n\n" + patch
    found = parsed(iter([output[:-cut_at], output[-cut_at:]]), NO_LIMITS, 30)
    assert [file.patch for file in found][1] == b"@@ -1 +1 @@\n-x\n"
    assert [file.lines_added for file in found] == [1, 0]


def test_git_that_says_nothing_found_nothing() -> None:
    parser = DiffParser(NO_LIMITS)
    assert parser.receive(b"") == []
    assert parser.finish() == []


def test_a_patch_of_a_file_that_was_not_announced_is_unreadable() -> None:
    parser = DiffParser(NO_LIMITS)
    parser.receive(b":100644 100644 %b %b M\ta\n\n" % (b"1" * 40, b"2" * 40))
    parser.receive(b"diff --git a/b b/b\n@@ -1 +1 @@\n-x\n+y\n")
    with pytest.raises(DiffUnreadable):
        parser.finish()


@pytest.mark.parametrize("line", [b":\n\n", b":100644 x\n\n", b":a b c d M\tx\n\n"])
def test_a_raw_line_that_is_none_is_unreadable(line: bytes) -> None:
    parser = DiffParser(NO_LIMITS)
    parser.receive(line)
    with pytest.raises(DiffUnreadable):
        parser.finish()


def test_a_line_without_end_is_not_collected_for_ever() -> None:
    parser = DiffParser(NO_LIMITS)
    with pytest.raises(DiffUnreadable):
        for _ in range(20):
            parser.receive(b":" + b"x" * (1 << 20))


def test_a_large_patch_is_handed_on_while_it_comes(tmp_path: Path) -> None:
    repository = bare(tmp_path)
    content = b"".join(b"%d\n" % n for n in range(200000))
    empty = write_tree(repository, {b"b": ("100644", b"")})
    full = write_tree(repository, {b"a": ("100644", content), b"b": ("100644", b"+")})
    output = raw_and_patches(repository, empty, full)
    parser = DiffParser(NO_LIMITS, large_patch_bytes=10000)
    sizes = [
        sum(len(event.patch) if isinstance(event, FileDiff) else len(event.data) for event in got)
        for got in map(parser.receive, cut(output, iter(lambda: 5000, 0)))
    ]
    assert max(sizes) < 20000
    [small] = [event for event in parser.finish() if isinstance(event, FileDiff)]
    assert small.patch == b"@@ -0,0 +1 @@\n++\n\\ No newline at end of file\n"
