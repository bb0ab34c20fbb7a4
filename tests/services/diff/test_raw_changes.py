from typing import Any

import pytest

from gitaly._pb.repository_pb2 import GetRawChangesRequest, GetRawChangesResponse
from gitaly.errors import InvalidRequest
from gitaly.services.repository import RawChangesServicer
from tests.services.diff.support import CALL, Asked, everything

Change = GetRawChangesResponse.RawChange


async def ask(servicer: RawChangesServicer, asked: Asked, old: str, new: str) -> list[Any]:
    request = GetRawChangesRequest(repository=asked.message, from_revision=old, to_revision=new)
    answers = await everything(servicer.GetRawChanges(request, CALL))
    return [change for answer in answers for change in answer.raw_changes]


@pytest.mark.parametrize("asked", ["sha1", "sha256"], indirect=True)
async def test_each_kind_of_change_has_its_paths_and_size(
    raw_changes: RawChangesServicer, asked: Asked
) -> None:
    text = "".join(f"{n}\n" for n in range(50))
    left = asked.commit({"del": "12345", "mod": "1", "old": text, "type": "x", "same": "s"})
    right = asked.commit(
        {
            "add\t": "12",
            "mod": ("100755", "123"),
            "new": text,
            "type": ("120000", "link"),
            "same": "s",
        }
    )
    file, link = 0o100644, 0o120000
    assert await ask(raw_changes, asked, left, right) == [
        Change(
            blob_id=asked.blob("12"),
            size=2,
            operation=Change.ADDED,
            new_mode=file,
            new_path_bytes=b"add\t",
        ),
        Change(
            blob_id=asked.blob("12345"),
            size=5,
            operation=Change.DELETED,
            old_mode=file,
            old_path_bytes=b"del",
        ),
        Change(
            blob_id=asked.blob("123"),
            size=3,
            operation=Change.MODIFIED,
            old_mode=file,
            new_mode=0o100755,
            old_path_bytes=b"mod",
            new_path_bytes=b"mod",
        ),
        Change(
            blob_id=asked.blob(text),
            size=len(text),
            operation=Change.RENAMED,
            old_mode=file,
            new_mode=file,
            old_path_bytes=b"old",
            new_path_bytes=b"new",
        ),
        Change(
            blob_id=asked.blob("link"),
            size=4,
            operation=Change.TYPE_CHANGED,
            old_mode=file,
            new_mode=link,
            old_path_bytes=b"type",
            new_path_bytes=b"type",
        ),
    ]


async def test_a_submodule_has_no_blob(raw_changes: RawChangesServicer, asked: Asked) -> None:
    left = asked.commit({"a": "1"})
    tree = asked.bare.git("mktree", "--missing", data=f"160000 commit {'1' * 40}\tsub\n")
    [deleted, added] = await ask(raw_changes, asked, left, tree)
    assert (deleted.operation, deleted.size) == (Change.DELETED, 1)
    assert added == Change(operation=Change.ADDED, new_mode=0o160000, new_path_bytes=b"sub")


async def test_zeros_are_nothing(raw_changes: RawChangesServicer, asked: Asked) -> None:
    commit = asked.commit({"a": "1", "b": "2"})
    assert [x.operation for x in await ask(raw_changes, asked, asked.null, commit)] == [1, 1]
    assert await ask(raw_changes, asked, commit, asked.null) == []
    assert await ask(raw_changes, asked, asked.null, asked.null) == []


@pytest.mark.parametrize("bad", ["", "none", "-x", "--output=x", "a\nb"])
async def test_both_revisions_must_exist(
    raw_changes: RawChangesServicer, asked: Asked, bad: str
) -> None:
    asked.head({"a": "1"})
    quoted = bad.replace("\n", "\\n")
    for old, new, text in (
        (bad, "main", f"invalid 'from' revision: \"{quoted}\""),
        ("main", bad, f"invalid 'to' revision: \"{quoted}\""),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await ask(raw_changes, asked, old, new)
        assert caught.value.message == text
