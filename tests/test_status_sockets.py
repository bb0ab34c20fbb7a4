"""Where the processes of a node are found that has no directory of its own."""

import os
import tempfile
from pathlib import Path

import pytest

from gitaly.runtime_dir import status_sockets

STRANGER = 54321


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_that_a_stranger_has_made_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can make one among the temporary directories, and could tell that all is well."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, owner in (("gitaly-mine", 0), ("gitaly-his", STRANGER)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, owner, -1)
    mine = str(tmp_path / "gitaly-mine" / "sock.d" / "status")
    his = str(tmp_path / "gitaly-his" / "sock.d" / "status")
    assert status_sockets("") == [mine]
    assert status_sockets("", {STRANGER}) == [his, mine]


def test_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "gitaly-link").symlink_to(tmp_path / "elsewhere")
    assert status_sockets("") == []
