import os
import time
from pathlib import Path

import pytest
import structlog

from gitaly.errors import Internal
from gitaly.observe.log import Logger
from gitaly.storage import Blocking, ensure_filesystem_id, filesystem_id, sweep, temporary
from tests.storage.support import entries

DAY = 86400


async def test_a_temporary_directory_lives_as_long_as_its_block(
    blocking: Blocking, root: Path
) -> None:
    async with temporary(blocking, str(root), "quarantine-") as path:
        assert path.startswith(f"{root}/+gitaly/tmp/quarantine-")
        assert os.stat(path).st_mode & 0o777 == 0o700
        (Path(path) / "deep/er").mkdir(parents=True)
    assert entries(root) == ["+gitaly/", "+gitaly/tmp/"]


async def test_its_block_may_move_it_away(blocking: Blocking, root: Path) -> None:
    async with temporary(blocking, str(root)) as path:
        os.rename(path, root / "kept")
    assert entries(root) == ["+gitaly/", "+gitaly/tmp/", "kept/"]


async def test_no_place_for_it_is_an_error_without_a_path(blocking: Blocking, root: Path) -> None:
    (root / "+gitaly").write_text("")
    with pytest.raises(Internal) as caught:
        async with temporary(blocking, str(root)):
            pass
    assert caught.value.message == "creating temporary directory: not a directory"


async def test_only_what_is_seven_days_old_is_swept(
    blocking: Blocking, root: Path, logger: Logger, log: structlog.testing.LogCapture
) -> None:
    directory = root / "+gitaly/tmp"
    for name, days in (("old", 7.01), ("young", 6.99)):
        (directory / name / "below").mkdir(parents=True)
        (directory / name / "below/file").touch()
        os.chmod(directory / name / "below", 0)
        os.utime(directory / name, (0, time.time() - days * DAY))
    (directory / "file").touch()
    os.utime(directory / "file", (0, 0))
    (directory / "link").symlink_to(root)
    os.utime(directory / "link", (0, 0), follow_symlinks=False)
    await sweep([str(root)], blocking, logger)
    assert sorted(os.listdir(directory)) == ["young"]
    (entry,) = log.entries
    assert entry["event"] == "finished tempdir cleaner walk"
    assert entry["storage"] == str(root)
    assert entry["time_ms"] >= 0


async def test_a_storage_that_cannot_be_swept_does_not_hinder_the_next(
    blocking: Blocking, root: Path, logger: Logger, log: structlog.testing.LogCapture
) -> None:
    (root / "+gitaly").write_text("")
    other = root / "other"
    (other / "+gitaly/tmp/old").mkdir(parents=True)
    os.utime(other / "+gitaly/tmp/old", (0, 0))
    await sweep([str(root), str(other)], blocking, logger)
    assert os.listdir(other / "+gitaly/tmp") == []
    assert ["error" in entry for entry in log.entries] == [True, False]


def test_a_file_system_gets_an_id_that_stays(root: Path) -> None:
    assert filesystem_id(str(root)) == ""
    made = ensure_filesystem_id(str(root))
    assert len(made) == 36
    assert ensure_filesystem_id(str(root)) == made == filesystem_id(str(root))
    assert os.listdir(root) == [".gitaly-metadata"]
    assert (root / ".gitaly-metadata").read_text() == f'{{"gitaly_filesystem_id": "{made}"}}'


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"gitaly_filesystem_id": 1}', "\x00"])
def test_metadata_that_nobody_can_read_is_no_id(root: Path, content: str) -> None:
    (root / ".gitaly-metadata").write_text(content)
    assert filesystem_id(str(root)) == ""
