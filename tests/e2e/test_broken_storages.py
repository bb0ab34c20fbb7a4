"""A disk is full, another read-only, a third is gone: what everybody sees, word for word.

One node has all three, and a storage that stays well. They break while it runs, and come back.
Paths of the test are shown as /srv.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import commit, run_git
from tests.e2e.storages import (
    HEALTHY,
    NAMES,
    PUSHED_BYTES,
    UNHEALTHY,
    Storages,
    fill,
)
from tests.storage.mounts import make_read_only

NO_SPACE = "No space left on device"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work tree: its first commit is in all storages, its second is to be pushed."""
    work = tmp_path_factory.mktemp("w") / "work"
    run_git("init", "--quiet", "--initial-branch=main", str(work))
    commit(work, "one")
    run_git("branch", "one", cwd=work)
    return work


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, work: Path) -> Iterator[Storages]:
    storages = Storages(tmp_path_factory.mktemp("n"), work)
    with storages.stack:
        (work / "noise").write_bytes(os.urandom(PUSHED_BYTES))
        run_git("add", "noise", cwd=work)
        run_git("commit", "--quiet", "--message=two", cwd=work)
        storages.node.start()
        assert storages.readiness() == {}
        storages.break_all()
        storages.wait_for(UNHEALTHY, 3)
        yield storages
        storages.node.stop()


@pytest.mark.parametrize("storage", ["full", "readonly"])
def test_clones_work_from_a_disk_that_takes_no_writes(
    broken: Storages, tmp_path: Path, storage: str
) -> None:
    answer = broken.git("clone", "--quiet", broken.url(storage), str(tmp_path / "copy"))
    assert (answer.code, answer.stderr) == (0, "")
    assert (tmp_path / "copy/file").read_text() == "one\n"


def test_a_clone_from_a_storage_that_is_gone_says_so(broken: Storages, tmp_path: Path) -> None:
    url = broken.url("gone")
    answer = broken.git("clone", "--quiet", url, str(tmp_path / "copy"))
    assert (answer.code, answer.stderr) == (128, f"fatal: {url}: storage does not exist")


def test_a_push_to_a_full_disk_says_so_and_leaves_nothing(broken: Storages, work: Path) -> None:
    answer = broken.git("push", "--quiet", broken.url("full"), "HEAD:main", cwd=work)
    assert answer.code == 1
    lines = [line.rstrip() for line in answer.stderr.splitlines()]
    assert lines == [
        f"remote: fatal: unable to write loose object file: {NO_SPACE}",
        "error: remote unpack failed: unpack-objects abnormal exit",
        f"To {broken.url('full')}",
        " ! [remote rejected] HEAD -> main (unpacker error)",
        f"error: failed to push some refs to '{broken.url('full')}'",
    ]
    assert broken.leftovers("full") == []


@pytest.mark.parametrize(
    ("storage", "text"),
    [("readonly", 'storage "readonly" is read-only'), ("gone", "storage does not exist")],
)
def test_a_push_to_what_cannot_be_written_is_refused_at_once(
    broken: Storages, work: Path, storage: str, text: str
) -> None:
    answer = broken.git("push", "--quiet", broken.url(storage), "HEAD:main", cwd=work)
    assert (answer.code, answer.stderr) == (128, f"fatal: {broken.url(storage)}: {text}")


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (
            "full",
            "INTERNAL: creating repository: creating repository: exit status 1, stderr: "
            rf'"error: unable to write symref for HEAD: {NO_SPACE}\n"',
        ),
        ("readonly", 'FAILED_PRECONDITION: storage "readonly" is read-only'),
        ("gone", "NOT_FOUND: storage does not exist"),
    ],
)
def test_a_repository_cannot_be_created(broken: Storages, storage: str, said: str) -> None:
    assert broken.create(storage) == said
    if storage != "gone":
        assert broken.leftovers(storage) == []


def test_readiness_names_all_three(broken: Storages) -> None:
    assert broken.readiness() == {
        'storage "full"': f"no_space: {NO_SPACE}",
        'storage "readonly"': "read_only: Read-only file system",
        'storage "gone"': "gone: No such file or directory",
    }


def test_health_tells_them_apart_and_the_node_as_a_whole_serves(broken: Storages) -> None:
    assert {name: broken.health(f"storage/{name}") for name in NAMES} == {
        "full": "NOT_SERVING",
        "readonly": "NOT_SERVING",
        "gone": "NOT_SERVING",
    }
    assert broken.health("storage/default") == "SERVING"
    assert broken.health() == "SERVING"


def test_the_metrics_tell_what_is_wrong(broken: Storages) -> None:
    page = broken.page.reading()

    def value(name: str, **labels: str) -> float:
        return page.sum(f"gitaly_storage_{name}", **labels)

    for storage, problem in (("full", "no_space"), ("readonly", "read_only"), ("gone", "gone")):
        assert value("healthy", storage=storage) == 0
        assert value("problem", storage=storage) == 1
        assert value("problem", storage=storage, problem=problem) == 1
    assert value("healthy", storage="default") == 1
    assert value("problem", storage="default") == 0
    assert value("available_bytes", storage="full") == 0
    assert value("size_bytes", storage="full") == 48 << 20


def test_the_log_has_one_line_for_each(broken: Storages) -> None:
    lines = sorted(broken.lines(UNHEALTHY), key=lambda line: str(line["storage"]))
    common = {"level": "error", "msg": "a storage is not healthy"}
    root = broken.root
    assert lines == [
        common
        | {"storage": "full", "storage_path": f"{root}/full"}
        | {"problem": "no_space", "error": NO_SPACE},
        common
        | {"storage": "gone", "storage_path": f"{root}/gone"}
        | {"problem": "gone", "error": "No such file or directory"},
        common
        | {"storage": "readonly", "storage_path": f"{root}/readonly"}
        | {"problem": "read_only", "error": "Read-only file system"},
    ]


def test_check_stops_at_a_storage_that_is_gone(broken: Storages) -> None:
    answer = broken.check()
    assert answer.code == 1
    assert answer.stdout.splitlines() == [
        "Checking configuration: FAILED",
        "  change /srv/config.toml, or bring back what it names (a file system to be mounted?);",
        "  gitaly configuration validate < /srv/config.toml lists all that is wrong",
    ]
    assert answer.stderr == (
        'config_path "/srv/config.toml": [3].path: doesn\'t exist: "/srv/gone"\n'
    )


def test_all_is_well_when_they_are_back(broken: Storages, work: Path) -> None:
    """The last test with these storages: check sees two of them broken, and then none."""
    os.rename(broken.path("away"), broken.path("gone"))
    answer = broken.check()
    assert answer.code == 1
    storages = [line for line in answer.stdout.splitlines() if "storage" in line or "  " in line]
    kind = storages[0].rpartition(", ")[2].removesuffix(")")  # of the machine's own disk
    assert storages == [
        f'Checking storage "default": OK (/srv/storage, {kind})',
        'Checking storage "full": FAILED',
        "  make room on the file system of /srv/full, or give it more",
        'Checking storage "readonly": FAILED',
        "  mount the file system of /srv/readonly writable; if the kernel has made it read-only,"
        " dmesg says why",
        f'Checking storage "gone": OK (/srv/gone, {kind})',
    ]
    assert answer.stderr.splitlines() == [
        f'storage "full": {NO_SPACE}',
        'storage "readonly": Read-only file system',
    ]
    os.rename(broken.path("gone"), broken.path("away"))
    broken.mend_all()
    broken.wait_for(HEALTHY, 3)
    assert broken.readiness() == {}
    for name in NAMES:
        answer = broken.git("push", "--quiet", broken.url(name), "HEAD:main", cwd=work)
        assert (answer.code, answer.stderr) == (0, "")
        assert broken.create(name) == ""
    assert len(broken.lines(UNHEALTHY)) == 3
    answer = broken.check()
    assert (answer.code, answer.stderr) == (0, "")


class Starting:
    """A node that is started on storages in whatever state."""

    def __init__(self, storages: Storages) -> None:
        self.storages = storages

    def said(self) -> list[str]:
        """What a start logs of its storages, or its last words."""
        log = self.storages.node.log
        before = len(log())
        try:
            self.storages.node.start()
        except AssertionError:
            return [self.storages.short(log()[before:].splitlines()[-1])]
        self.storages.node.stop()
        lines = self.storages.lines(UNHEALTHY)
        return sorted(f"{line['storage']}: {line['error']}" for line in lines)


@pytest.fixture
def starting(tmp_path_factory: pytest.TempPathFactory, work: Path) -> Iterator[Starting]:
    storages = Storages(tmp_path_factory.mktemp("n"), work)
    with storages.stack:
        yield Starting(storages)


def test_a_node_starts_on_storages_that_take_no_writes_and_says_so(starting: Starting) -> None:
    assert starting.said() == []  # they get their identity
    fill(starting.storages.path("full"))
    make_read_only(starting.storages.path("readonly"))
    assert starting.said() == [f"full: {NO_SPACE}", "readonly: Read-only file system"]


def test_a_node_does_not_start_without_a_storage(starting: Starting) -> None:
    shutil.rmtree(starting.storages.path("gone"))
    assert starting.said() == [
        'failed to configure Gitaly: load config: config_path "/srv/config.toml": '
        'invalid config: [3].path: doesn\'t exist: "/srv/gone"'
    ]


@pytest.mark.parametrize(
    ("storage", "text"), [("full", NO_SPACE), ("readonly", "Read-only file system")]
)
def test_a_node_does_not_start_on_a_new_storage_that_it_cannot_write_to(
    starting: Starting, storage: str, text: str
) -> None:
    path = starting.storages.path(storage)
    break_it = {"full": fill, "readonly": make_read_only}[storage]
    break_it(path)
    (said,) = starting.said()
    assert f'"error":"storage /srv/{storage}: {text}"' in said
