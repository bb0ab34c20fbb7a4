"""Custom hooks as archives: what is taken, what is refused, and what the repository has then."""

import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly.errors import Aborted, Internal, InvalidRequest, NodeError
from gitaly.hooks.custom import HookStore
from gitaly.hooks.custom.setting import directory_digest, go_file_mode
from gitaly.storage import Blocking, Phase, Repository
from tests.hooks.custom.scripts import write_hook


def archive(*members: tuple[str, str, str | bytes], end: bool = True) -> bytes:
    """Members are (name, kind, content or target); kinds: file, dir, symlink, link, fifo."""
    kinds = {
        "file": tarfile.REGTYPE,
        "dir": tarfile.DIRTYPE,
        "symlink": tarfile.SYMTYPE,
        "link": tarfile.LNKTYPE,
        "fifo": tarfile.FIFOTYPE,
    }
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kinds[kind], 0o755
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content
                tar.addfile(member)
        size = tar.offset
    return written.getvalue() if end else written.getvalue()[:size]


GOOD = archive(
    ("custom_hooks/", "dir", ""),
    ("custom_hooks/pre-receive", "file", b"#!/bin/sh\n"),
    ("custom_hooks/update.d", "dir", ""),
    ("custom_hooks/update.d/same", "link", "custom_hooks/pre-receive"),
    ("custom_hooks/update.d/elsewhere", "symlink", "/bin/sh"),
)


def tar(directory: Path) -> bytes:
    command = ["tar", "-C", str(directory), "-cf", "-", "custom_hooks"]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture
def store(blocking: Blocking) -> HookStore:
    return HookStore(blocking)


@pytest.fixture
def place(repository: Repository) -> Path:
    return Path(repository.path, "custom_hooks")


def names(place: Path) -> list[str] | None:
    """None: not even the directory is there."""
    if not place.is_dir():
        return None
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def left(repository: Repository) -> list[str]:
    """What should not be there after a call, however it ended."""
    temporary = Path(repository.storage_path, "+gitaly/tmp")
    return [str(path) for path in (*temporary.glob("*"), *Path(repository.path).glob("*.lock"))]


async def test_an_archive_takes_the_place_of_the_old_hooks(
    store: HookStore, repository: Repository, place: Path
) -> None:
    write_hook(place / "post-receive", "")
    await store.replace(repository, pieces(GOOD))
    assert names(place) == ["pre-receive", "update.d", "update.d/elsewhere", "update.d/same"]
    assert os.access(place / "pre-receive", os.X_OK)
    assert os.readlink(place / "update.d/elsewhere") == "/bin/sh"
    assert left(repository) == []


async def test_tar_itself_makes_archives_that_are_taken(
    store: HookStore, repository: Repository, place: Path, tmp_path: Path
) -> None:
    write_hook(tmp_path / "custom_hooks/update.d/1", "exit 1")
    await store.replace(repository, pieces(tar(tmp_path)))
    assert names(place) == ["update.d", "update.d/1"]


@pytest.mark.parametrize("data", [b"", archive(("other", "file", b"x"))], ids=["empty", "other"])
async def test_without_hooks_in_it_an_archive_removes_them(
    store: HookStore, repository: Repository, place: Path, data: bytes
) -> None:
    write_hook(place / "update", "")
    await store.replace(repository, pieces(data))
    assert names(place) == []


@pytest.mark.parametrize("cut", [1, 100, 512, 600, 1024, 1025, -10240 + 512 * 7])
async def test_an_archive_that_breaks_off_changes_nothing(
    store: HookStore, repository: Repository, place: Path, cut: int
) -> None:
    write_hook(place / "update", "")
    whole = archive(("custom_hooks/a", "file", b"x"), ("custom_hooks/b", "file", b"y" * 3000))
    with pytest.raises(Internal) as caught:
        await store.replace(repository, pieces(whole[:cut]))
    assert caught.value.message == (
        "setting custom hooks: extracting hooks: waiting for tar command completion: exit status 2"
    )
    assert names(place) == ["update"]
    assert left(repository) == []


async def test_an_archive_without_its_end_changes_nothing(
    store: HookStore, repository: Repository, place: Path
) -> None:
    data = archive(("custom_hooks/a", "file", b"x" * 512), end=False)
    with pytest.raises(Internal, match="exit status 2"):
        await store.replace(repository, pieces(data))
    assert names(place) is None


HOSTILE = {
    "absolute": [("/custom_hooks/a", "file", b"x")],
    "climbs": [("custom_hooks/../../a", "file", b"x")],
    "climbs elsewhere": [("../a", "file", b"x")],
    "through a link": [
        ("custom_hooks/d", "symlink", "/tmp"),
        ("custom_hooks/d/a", "file", b"x"),
    ],
    "top is a link": [("custom_hooks", "symlink", "/tmp"), ("custom_hooks/a", "file", b"x")],
    "over a link": [("custom_hooks/a", "symlink", "/tmp/a"), ("custom_hooks/a", "file", b"x")],
    "below a file": [("custom_hooks/a", "file", b"x"), ("custom_hooks/a/b", "file", b"x")],
    "hard link outwards": [("custom_hooks/a", "link", "/etc/passwd")],
    "hard link to nothing": [("custom_hooks/a", "link", "custom_hooks/b")],
    "hard link to a link": [
        ("custom_hooks/s", "symlink", "/etc/passwd"),
        ("custom_hooks/a", "link", "custom_hooks/s"),
    ],
    "fifo": [("custom_hooks/a", "fifo", "")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=list(HOSTILE))
async def test_a_hostile_archive_is_refused_and_changes_nothing(
    store: HookStore,
    repository: Repository,
    place: Path,
    members: list[tuple[str, str, str | bytes]],
) -> None:
    write_hook(place / "update", "")
    with pytest.raises(InvalidRequest, match="setting custom hooks: extracting hooks: "):
        await store.replace(repository, pieces(archive(*members)))
    assert names(place) == ["update"]
    assert left(repository) == []


async def test_only_one_at_a_time_replaces_hooks(
    store: HookStore, repository: Repository, place: Path
) -> None:
    with open(f"{repository.path}/custom_hooks.lock", "x"):  # noqa: ASYNC230
        pass
    with pytest.raises(Internal) as caught:
        await store.replace(repository, pieces(GOOD))
    assert caught.value.message == ("setting custom hooks: locking hooks: file already locked")
    assert names(place) is None


async def test_what_is_read_is_what_can_be_set(
    store: HookStore, repository: Repository, place: Path
) -> None:
    await store.replace(repository, pieces(GOOD))
    (place / "pre-receive").chmod(0o700)
    (place / "update.d" / "plain").write_text("x")
    (place / "update.d" / "plain").chmod(0o600)
    data = b"".join([piece async for piece in store.read(repository)])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: member for member in tar}
    assert list(found) == [
        "custom_hooks",
        "custom_hooks/pre-receive",
        "custom_hooks/update.d",
        "custom_hooks/update.d/elsewhere",
        "custom_hooks/update.d/plain",
        "custom_hooks/update.d/same",
    ]
    assert found["custom_hooks/pre-receive"].mode == 0o777
    assert found["custom_hooks/update.d/plain"].mode == 0o666
    assert found["custom_hooks/update.d/same"].isreg()
    assert found["custom_hooks/update.d/elsewhere"].linkname == "/bin/sh"
    await store.replace(repository, pieces(data))
    assert (place / "update.d/plain").read_text() == "x"


async def test_without_hooks_nothing_is_read(store: HookStore, repository: Repository) -> None:
    assert [piece async for piece in store.read(repository)] == []


class Ballot:
    def __init__(self, refuse: Phase | None = None) -> None:
        self.votes: list[tuple[Phase, str]] = []
        self._refuse = refuse

    async def __call__(self, phase: Phase, digest: bytes) -> None:
        self.votes.append((phase, digest.hex()))
        if phase is self._refuse:
            raise Aborted("transaction was aborted")


async def test_nodes_vote_before_during_and_after(
    store: HookStore, repository: Repository, place: Path
) -> None:
    ballot = Ballot()
    await store.replace(repository, pieces(GOOD), ballot)
    phases, digests = zip(*ballot.votes, strict=True)
    assert phases == (Phase.PREPARING, Phase.PREPARED, Phase.COMMITTED)
    assert digests[1] == digests[2] == directory_digest(str(place)).hex()


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.PREPARED])
async def test_a_vote_against_keeps_the_old_hooks(
    store: HookStore, repository: Repository, place: Path, phase: Phase
) -> None:
    write_hook(place / "update", "")
    with pytest.raises(NodeError, match="transaction was aborted"):
        await store.replace(repository, pieces(GOOD), Ballot(phase))
    assert names(place) == ["update"]
    assert left(repository) == []


def test_modes_are_voted_on_as_go_counts_them() -> None:
    assert go_file_mode(0o040755) == 0x800001ED
    assert go_file_mode(0o120777) == 0x080001FF
    assert go_file_mode(0o104711) == 0x008001C9
    assert go_file_mode(0o102755) == 0x004001ED
    assert go_file_mode(0o041777) == 0x801001FF
