"""Messages encoded by hand are what protobuf would have written."""

import random

import pytest

from gitaly._pb.diff_pb2 import CommitDiffResponse
from gitaly.git.diffs import FileDiff, RawEntry
from gitaly.services.commit_diff_messages import first_message, further_message, messages_of
from gitaly.services.patch_pieces import PIECE_BYTES, patch_pieces

SIZES = [0, 1, 127, 128, 2048, 5119, 5120, 5121, 10240, 10241, 100_000]
MODES = [0, 0o100644, 0o100755, 0o120000, 0o160000, 0o100664]


def any_file(choices: random.Random, patch: bytes = b"") -> FileDiff:
    id_length = choices.choice([40, 64])
    return FileDiff(
        RawEntry(
            choices.choice(MODES),
            choices.choice(MODES),
            "1" * id_length,
            "2" * id_length,
            "R",
            choices.randbytes(choices.choice([1, 100, 127, 128, 5000])),
            choices.randbytes(choices.choice([1, 100, 127, 128, 5000])),
        ),
        has_patch=True,
        patch=patch,
        patch_bytes=len(patch),
        is_pruned=choices.choice([False, True]),
        binary=choices.choice([False, True]),
        lines_added=choices.choice([0, 1, 127, 128, 300_000, 2**31 - 1]),
        lines_removed=choices.choice([0, 1, 127, 128, 300_000, 2**31 - 1]),
    )


def by_protobuf(file: FileDiff, piece: bytes, *, is_last: bool) -> CommitDiffResponse:
    assert file.entry is not None
    return CommitDiffResponse(
        from_path=file.entry.old_path,
        to_path=file.entry.new_path,
        from_id=file.entry.old_id,
        to_id=file.entry.new_id,
        old_mode=file.entry.old_mode,
        new_mode=file.entry.new_mode,
        binary=file.binary,
        raw_patch_data=piece,
        end_of_patch=is_last,
        overflow_marker=file.overflow,
        collapsed=file.collapsed,
        too_large=file.too_large,
        lines_added=file.lines_added,
        lines_removed=file.lines_removed,
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(20))
def test_a_file_is_encoded_as_its_messages_are(size: int, seed: int) -> None:
    choices = random.Random(seed)
    file = any_file(choices, choices.randbytes(size))
    (first, is_only), *others = patch_pieces(file.patch)
    expected = [by_protobuf(file, first, is_last=is_only)] + [
        CommitDiffResponse(raw_patch_data=piece, end_of_patch=is_last) for piece, is_last in others
    ]
    assert messages_of(file) == [message.SerializeToString() for message in expected]


@pytest.mark.parametrize("why", ["overflow", "collapsed", "too_large"])
@pytest.mark.parametrize("seed", range(5))
def test_a_patch_that_is_not_shown_says_why(why: str, seed: int) -> None:
    file = any_file(random.Random(seed))._replace(
        is_pruned=True,
        overflow=why == "overflow",
        collapsed=why == "collapsed",
        too_large=why == "too_large",
    )
    expected = by_protobuf(file, b"", is_last=True)
    assert messages_of(file) == [expected.SerializeToString()]


def test_the_marker_that_limits_are_reached_says_nothing_else() -> None:
    [marker] = messages_of(FileDiff(None, is_pruned=True, overflow=True))
    expected = CommitDiffResponse(overflow_marker=True, end_of_patch=True)
    assert marker == expected.SerializeToString()


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES])
def test_pieces_of_a_patch_from_disk_are_encoded_as_others(size: int, *, is_last: bool) -> None:
    file, piece = any_file(random.Random(1)), b"x" * size
    expected = by_protobuf(file, piece, is_last=is_last)
    assert first_message(file, piece, is_last=is_last) == expected.SerializeToString()
    further = CommitDiffResponse(raw_patch_data=piece, end_of_patch=is_last)
    assert further_message(piece, is_last=is_last) == further.SerializeToString()
