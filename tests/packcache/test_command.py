"""What upload-pack may ask for."""

import pytest

from gitaly.errors import InvalidRequest
from gitaly.packcache import PackCommand, parse


def test_what_upload_pack_asks_is_understood() -> None:
    asked = ["pack-objects", "--revs", "--thin", "--stdout", "--progress", "--delta-base-offset"]
    found = parse(["--shallow-file", "", *asked])
    assert found == PackCommand(["--revs", "--thin", "--progress", "--delta-base-offset"], True)
    assert parse(asked).has_shallow_file is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "invalid pack-objects command: []: missing pack-objects"),
        (["repack"], "invalid pack-objects command: [repack]: missing pack-objects"),
        (
            ["--shallow-file", "x", "pack-objects", "--stdout"],
            "invalid pack-objects command: [--shallow-file x pack-objects --stdout]: "
            "missing pack-objects",
        ),
        (
            ["pack-objects", "--stdout", "x"],
            "invalid pack-objects command: [pack-objects --stdout x]: non-flag argument",
        ),
        (
            ["pack-objects", "--revs"],
            "invalid pack-objects command: [pack-objects --revs]: missing --stdout",
        ),
    ],
)
def test_anything_else_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(arguments)
    assert raised.value.message == said


@pytest.mark.parametrize(
    ("flags", "is_repeatable"),
    [
        (["--revs", "--thin", "--include-tag", "--shallow", "--filter=blob:none"], True),
        (["--revs", "--filter=tree:0"], True),
        (["--revs", "--filter=sparse:oid=main:rules"], False),
        (["--revs", "--filter=combine:blob:none+sparse:oid=main"], False),
        (["--revs", "--all"], False),
        (["--revs", "--reflog"], False),
        (["--thin"], False),  # its input are objects with names that guide the deltas
    ],
)
def test_what_references_can_change_is_not_repeatable(
    flags: list[str], is_repeatable: bool
) -> None:
    assert PackCommand(flags).is_repeatable is is_repeatable
