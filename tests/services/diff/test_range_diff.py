from typing import Any

import pytest

from gitaly._pb.diff_pb2 import RangeDiffRequest, RangeDiffResponse, RawRangeDiffRequest
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError
from gitaly.services.diff import DiffServicer
from tests.git.diffs.support import git_output
from tests.services.diff.support import CALL, Asked, everything

EQUAL, GREATER, LESS, DIFFERENT = range(4)
LINES = "".join(f"line {n}\n" for n in range(20))


class Branches:
    """Two branches: the first commit is kept, the second edited, the third dropped."""

    def __init__(self, asked: Asked) -> None:
        self.base = asked.commit({"a": LINES})
        self.old = [asked.child({"a": "first\n" + LINES}, self.base, subject="First: it")]
        self.old += [
            asked.child({"a": "first\n" + LINES + "second\n"}, self.old[0], subject="Second"),
        ]
        self.old += [asked.child({"b": "third\n"}, self.old[1], subject="Third")]
        self.new = [asked.child({"a": LINES, "c": "new\n"}, self.base, subject="New")]
        self.new += [
            asked.child({"a": "first\n" + LINES, "c": "new\n"}, self.new[0], subject="First: it")
        ]
        self.new += [
            asked.child(
                {"a": "first\n" + LINES + "second\nmore\n", "c": "new\n"},
                self.new[1],
                subject="Second",
            )
        ]

    def specs(self) -> list[dict[str, Any]]:
        base, old, new = self.base, self.old[-1], self.new[-1]
        return [
            {"range_pair": {"range1": f"{base}..{old}", "range2": f"{base}..{new}"}},
            {"revision_range": {"rev1": old, "rev2": new}},
            {"base_with_revisions": {"base": base, "rev1": old, "rev2": new}},
        ]


@pytest.mark.parametrize("asked", ["sha1", "sha256"], indirect=True)
async def test_pairs_have_whole_ids_however_the_range_is_given(
    servicer: DiffServicer, asked: Asked
) -> None:
    branches = Branches(asked)
    old, new, none = branches.old, branches.new, "-" * len(asked.null)
    for spec in branches.specs():
        request = RangeDiffRequest(repository=asked.message, **spec)
        found = await everything(servicer.RangeDiff(request, CALL))
        assert [
            (x.from_commit_id, x.to_commit_id, x.comparison, x.commit_message_title) for x in found
        ] == [
            (none, new[0], GREATER, "New"),
            (old[0], new[1], EQUAL, "First: it"),
            (old[1], new[2], DIFFERENT, "Second"),
            (old[2], none, LESS, "Third"),
        ]
        assert [bool(x.patch_data) for x in found] == [False, False, True, False]
        assert b"\n     +second\n" not in found[2].patch_data
        assert b"\n+ +more\n" in b"\n" + found[2].patch_data or b"++more\n" in found[2].patch_data
        assert all(x.end_of_patch for x in found)


async def test_the_raw_text_is_gits_with_whole_ids(servicer: DiffServicer, asked: Asked) -> None:
    branches = Branches(asked)
    for spec in branches.specs():
        request = RawRangeDiffRequest(repository=asked.message, **spec)
        text = b"".join(x.data for x in await everything(servicer.RawRangeDiff(request, CALL)))
        lines = text.decode().splitlines()
        assert lines[0] == f"-:  {'-' * 40} > 1:  {branches.new[0]} New"
        assert lines[1] == f"1:  {branches.old[0]} = 2:  {branches.new[1]} First: it"


async def test_long_differences_come_in_pieces(servicer: DiffServicer, asked: Asked) -> None:
    base = asked.commit({"a": LINES})
    many = "".join(f"added line number {n}\n" for n in range(600))
    old = asked.child({"a": LINES + many}, base, subject="It")
    new = asked.child({"a": LINES + many.replace("7\n", "x\n")}, base, subject="It")
    spec = {"revision_range": {"rev1": old, "rev2": new}}
    request = RangeDiffRequest(repository=asked.message, **spec)
    first, *others = await everything(servicer.RangeDiff(request, CALL))
    assert (first.comparison, len(first.patch_data), first.end_of_patch) == (DIFFERENT, 5120, False)
    assert others[-1] == RangeDiffResponse(patch_data=others[-1].patch_data, end_of_patch=True)


async def test_a_title_that_is_no_utf8_cannot_be_sent(servicer: DiffServicer, asked: Asked) -> None:
    base = asked.commit({"a": "1\n"})
    good = asked.child({"a": "2\n"}, base, subject="cafe")
    bad = asked.raw("commit", git_output(asked.bare, "cat-file", "commit", good)[:-2] + b"\xe9\n")
    request = RangeDiffRequest(repository=asked.message, revision_range={"rev1": base, "rev2": bad})
    with pytest.raises(Internal) as caught:
        await everything(servicer.RangeDiff(request, CALL))
    assert caught.value.message.endswith("string field contains invalid UTF-8")


@pytest.mark.parametrize(
    ("spec", "kind", "texts"),
    [
        ({"range_pair": {}}, InvalidRequest, ["empty Range1"] * 2),
        ({"range_pair": {"range1": "x"}}, InvalidRequest, ["empty Range2"] * 2),
        ({"revision_range": {}}, InvalidRequest, ["empty Rev1"] * 2),
        ({"revision_range": {"rev1": "x"}}, InvalidRequest, ["empty Rev2"] * 2),
        ({"base_with_revisions": {"rev1": "x", "rev2": "x"}}, InvalidRequest, ["empty Base"] * 2),
        ({"base_with_revisions": {"base": "x"}}, InvalidRequest, ["empty Rev1"] * 2),
        (
            {"range_pair": {"range1": "a\0", "range2": "b"}},
            InvalidRequest,
            ["revision can't contain NUL"] * 2,
        ),
        (
            {"range_pair": {"range1": "-x", "range2": "b"}},
            Internal,
            ["cmd: positional arg \"-x\" cannot start with dash '-': invalid argument"] * 2,
        ),
        ({}, NodeError, ["RangeDiff: exit status 129", "exit status 129"]),
        (
            {"revision_range": {"rev1": "none", "rev2": "no"}},
            NodeError,
            ["RangeDiff: exit status 128", "exit status 128"],
        ),
    ],
)
async def test_ranges_that_cannot_be_compared_are_refused(
    servicer: DiffServicer,
    asked: Asked,
    spec: dict[str, Any],
    kind: type[NodeError],
    texts: list[str],
) -> None:
    asked.head({"a": "x"})
    both: list[tuple[Any, Any, type[NodeError]]] = [
        (servicer.RangeDiff, RangeDiffRequest, FailedPrecondition),
        (servicer.RawRangeDiff, RawRangeDiffRequest, Internal),
    ]
    for (method, request_class, failed), text in zip(both, texts, strict=True):
        with pytest.raises(failed if kind is NodeError else kind) as caught:
            await everything(method(request_class(repository=asked.message, **spec), CALL))
        assert caught.value.message == text
