import pytest

from gitaly.git import LFSPointer, parse_lfs_pointer

VERSION = b"version https://git-lfs.github.com/spec/v1\n"
ID = b"5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"
FILE = b"oid sha256:" + ID + b"\n"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (VERSION + FILE + b"size 12\n", 12),
        (VERSION + FILE + b"size 12", 12),
        (VERSION + b"ext-0-x sha256:1\nsize 0\n" + FILE, 0),
        (VERSION + FILE + b"size 9223372036854775807\n", 2**63 - 1),
        (VERSION + FILE + b"size 007\nsize 8\n", 7),
    ],
)
def test_a_pointer_tells_file_and_size(data: bytes, size: int) -> None:
    assert parse_lfs_pointer(data) == LFSPointer(ID, size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        VERSION,
        VERSION + FILE,
        VERSION + b"size 12\n",
        b"\n" + VERSION + FILE + b"size 12\n",
        VERSION + FILE + b"size 9223372036854775808\n",
        VERSION + FILE + b"size -1\n",
        VERSION + FILE + b"size 12\r\n",
        VERSION + FILE + b" size 12\n",
        VERSION + FILE.upper() + b"size 12\n",
        VERSION.replace(b"git-lfs", b"hawser") + FILE + b"size 12\n",
    ],
)
def test_everything_else_is_no_pointer(data: bytes) -> None:
    assert parse_lfs_pointer(data) is None
