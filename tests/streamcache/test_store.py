"""The directory of the cache: whose files are whose, and who may remove what."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.streamcache import Store
from gitaly.streamcache.entry import Entry, State
from gitaly.streamcache.store import Changed, identity_of, is_still


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "cache"), min_free_bytes=1)
    store.open()
    yield store
    store.close()


def made(store: Store, content: bytes = b"pack") -> Path:
    path, descriptor = store.create()
    os.write(descriptor, content)
    os.close(descriptor)
    return Path(path)


def complete(store: Store, content: bytes = b"pack") -> Entry:
    path, descriptor = store.create()
    os.write(descriptor, content)
    entry = Entry(key="k", repository="", created=0, path=path, state=State.COMPLETE)
    entry.identity = identity_of(descriptor)
    os.close(descriptor)
    return entry


def test_files_have_names_nobody_guesses_and_are_for_nobody_else(store: Store) -> None:
    paths = [made(store) for _ in range(3)]
    assert [path.parent.name for path in paths] == ["01", "02", "03"]
    owners = {path.name.partition("-")[0] for path in paths}
    assert [len(owner) for owner in owners] == [20]
    assert [path.name.partition("-")[2] for path in paths] == ["1", "2", "3"]
    for path in paths:
        assert path.stat().st_mode & 0o777 == 0o400
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert Path(store.directory).stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_removed_is_made_again(store: Store, tmp_path: Path) -> None:
    made(store)
    subprocess.run(["rm", "-rf", store.directory], check=True)
    path = made(store)
    assert path.read_bytes() == b"pack"
    other = Store(store.directory)
    other.open()
    assert other.sweep(0, time.time() + 1000) == 0  # the lock is there again
    other.close()


def test_a_whole_file_is_opened(store: Store) -> None:
    entry = complete(store)
    descriptor = store.open_complete(entry)
    assert os.read(descriptor, 10) == b"pack"
    os.close(descriptor)


def damage_truncate(path: str) -> None:
    os.chmod(path, 0o600)
    os.truncate(path, 2)


def damage_change(path: str) -> None:
    status = os.stat(path)
    time.sleep(0.02)  # more than a tick of the kernel's clock
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"P", 0)
    os.close(descriptor)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had happened


def damage_replace(path: str) -> None:
    Path(path + ".new").write_bytes(b"PACK")
    os.replace(path + ".new", path)


def damage_link(path: str) -> None:
    os.rename(path, path + ".away")
    os.symlink(path + ".away", path)


@pytest.mark.parametrize(
    "damage", [damage_truncate, damage_change, damage_replace, damage_link, os.unlink]
)
def test_a_file_that_is_not_what_was_written_is_not_opened(store: Store, damage: object) -> None:
    entry = complete(store)
    assert callable(damage)
    damage(entry.path)
    with pytest.raises(OSError):
        os.close(store.open_complete(entry))


def test_damage_is_told_from_absence(store: Store) -> None:
    entry = complete(store)
    damage_truncate(entry.path)
    with pytest.raises(Changed):
        store.open_complete(entry)


def test_an_open_file_stays_what_it_is_without_its_name(store: Store) -> None:
    entry = complete(store)
    assert entry.identity is not None
    descriptor = store.open_complete(entry)
    assert is_still(descriptor, entry.identity)
    os.unlink(entry.path)
    assert is_still(descriptor, entry.identity)
    os.close(descriptor)


def test_a_start_removes_what_a_killed_process_has_left(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from gitaly.streamcache import Store\n"
        "store = Store(sys.argv[1], min_free_bytes=1)\n"
        "store.open()\n"
        "for _ in range(3): store.create()\n"
        "print('made', flush=True)\n"
        "time.sleep(60)\n"
    )
    directory = tmp_path / "cache"
    victim = subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"made\n"
    store = Store(str(directory), min_free_bytes=1)
    store.open()
    mine = made(store)
    assert store.sweep(0, time.time() + 1000) == 0  # it lives: nothing of it is touched
    assert len(list(directory.glob("??/*"))) == 4
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert store.sweep(300, time.time()) == 3
    assert list(directory.glob("??/*")) == [mine]
    assert len(list(directory.glob("*.lock"))) == 1
    store.close()
    assert list(directory.glob("*.lock")) == []


def test_two_processes_share_a_directory(tmp_path: Path) -> None:
    first, second = (Store(str(tmp_path / "cache"), min_free_bytes=1) for _ in range(2))
    first.open()
    second.open()
    paths = [made(first), made(second)]
    assert first.sweep(0, time.time() + 1000) == second.sweep(0, time.time() + 1000) == 0
    first.close()
    assert second.sweep(300, time.time()) == 0  # its owner left no lock: only age counts now
    assert second.sweep(300, time.time() + 301) == 1
    assert [path.exists() for path in paths] == [False, True]
    second.close()


def test_files_of_a_process_without_locks_go_when_they_are_old(store: Store) -> None:
    directory = Path(store.directory, "0a")
    directory.mkdir()
    old, new, coming = (directory / f"{x * 20}-10" for x in "012")
    for path in (old, new, coming):
        path.write_bytes(b"")
    now = time.time()
    os.utime(old, (now - 301, now - 301))
    os.utime(coming, (now + 9999, now + 9999))  # the clock has jumped back since
    assert store.sweep(300, now) == 1
    assert sorted(directory.iterdir()) == [new, coming]


def test_what_is_not_ours_is_left_alone(store: Store) -> None:
    directory = Path(store.directory, "0a")
    directory.mkdir()
    strange = [directory / "README", Path(store.directory, "x.lock"), directory / "0-1"]
    for path in strange:
        path.write_text("mine")
        os.utime(path, (0, 0))
    assert store.sweep(1, time.time()) == 0
    assert all(path.exists() for path in strange)


def test_free_space_is_left_to_others(tmp_path: Path) -> None:
    store = Store(str(tmp_path), min_free_bytes=1 << 60)
    store.open()
    assert not store.has_space()
    assert Store(str(tmp_path), min_free_bytes=1).has_space()
    store.close()


def test_removing_what_is_gone_is_no_error(store: Store) -> None:
    store.remove(os.path.join(store.directory, "01", "gone"))
    with pytest.raises(OSError):
        store.remove(store.directory)
