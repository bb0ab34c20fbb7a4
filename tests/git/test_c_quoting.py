import subprocess
from pathlib import Path

import pytest

from gitaly.git.c_quoting import c_quoted, c_string, c_unquoted
from tests.git.support import bare

NAMES = [
    b"plain",
    b"with space",
    b'quote"',
    b"back\\slash",
    b"tab\tbell\afeed\n",
    b"\x01\x7f\x80\xff",
    "ü".encode(),
    b"'",
    b"\\134",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_quoted_as_by_git_and_read_back(tmp_path: Path, name: bytes) -> None:
    repository = bare(tmp_path)
    blob = repository.git("hash-object", "-w", "--stdin", data="x")
    tree = subprocess.run(
        ["git", "--git-dir", repository.path, "mktree", "-z"],
        input=b"100644 blob %b\t%b\0" % (blob.encode(), name),
        capture_output=True,
        check=True,
    ).stdout.strip()
    listed = subprocess.run(
        ["git", "--git-dir", repository.path, "ls-tree", "--name-only", tree],
        capture_output=True,
        check=True,
    ).stdout.removesuffix(b"\n")
    assert c_quoted(name) == listed
    assert c_unquoted(listed) == name


def test_quotes_can_be_had_in_any_case() -> None:
    assert c_string(b"plain") == b'"plain"'
    assert c_unquoted(b'"plain"') == b"plain"
