import io
import os
from pathlib import Path

import pytest

from gitaly.observe.log import Logger, make_logger
from gitaly.runtime_dir import NoRuntimeDirectory, RuntimeDirectory


@pytest.fixture
def log() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def logger(log: io.BytesIO) -> Logger:
    return make_logger(log, format="text")


def test_it_is_named_after_the_process_private_and_gone_afterwards(
    tmp_path: Path, logger: Logger
) -> None:
    with RuntimeDirectory(str(tmp_path), logger) as runtime:
        assert runtime.path == f"{tmp_path}/gitaly-{os.getpid()}"
        assert os.stat(runtime.path).st_mode & 0o777 == 0o700
        assert runtime.internal_socket == f"{runtime.path}/sock.d/intern"
    assert list(tmp_path.iterdir()) == []


def test_what_dead_processes_left_is_removed(
    tmp_path: Path, logger: Logger, log: io.BytesIO
) -> None:
    dead, alive, own = "gitaly-4194304", f"gitaly-{os.getppid()}", f"gitaly-{os.getpid()}"
    for name in (dead, alive, own, "gitaly-0"):
        (tmp_path / name / "sock.d").mkdir(parents=True)
    (tmp_path / "a-file").touch()
    with RuntimeDirectory(str(tmp_path), logger):
        left = sorted(entry.name for entry in tmp_path.iterdir())
    assert left == sorted(["a-file", alive, own])
    assert b"removed leftover gitaly process directory" in log.getvalue()


def test_a_strange_directory_is_kept_and_named(
    tmp_path: Path, logger: Logger, log: io.BytesIO
) -> None:
    (tmp_path / "precious").mkdir()
    with RuntimeDirectory(str(tmp_path), logger):
        assert (tmp_path / "precious").exists()
    assert b"could not prune entry" in log.getvalue()


def test_a_path_too_long_for_sockets_is_refused_with_advice(tmp_path: Path, logger: Logger) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    with pytest.raises(NoRuntimeDirectory, match="your socket path is likely too long"):
        RuntimeDirectory(str(long), logger).__enter__()
    assert list(long.iterdir()) == []


def test_without_a_configured_parent_a_temporary_one_is_made(logger: Logger) -> None:
    with RuntimeDirectory("", logger) as runtime:
        assert os.path.basename(runtime.path).startswith("gitaly-")
    assert not os.path.exists(runtime.path)
