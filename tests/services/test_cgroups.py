"""A node whose git runs in the control groups of this machine, asked by real clients."""

import contextlib
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gitaly._pb.smarthttp_pb2 import PostUploadPackWithSidechannelRequest
from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.cgroups import CgroupsUnusable
from gitaly.transport.channel import Channel
from gitaly.transport.pktline import DELIM, FLUSH, PktLineReader, encode
from gitaly.transport.sideband import STDERR
from gitaly.transport.sidechannel import InputEncoder
from tests.cgroups.support import (
    controllers,
    groups_of,
    is_unified,
    left_below,
    remove_root,
    why_no_groups,
)
from tests.faults.nodes import run_git
from tests.services.node_under_test import (
    A,
    Fetched,
    Node,
    a_node_with_a_repository,
    children,
)
from tests.transport.wires import until

LIMIT = 64 << 20
OF_VERSION_1 = ["gitaly_cgroup_memory_reclaim_attempts_total"]
OF_VERSION_2 = [
    *(f"gitaly_cgroup_memory_events_{name}_total" for name in ("high", "max", "oom")),
    "gitaly_cgroup_memory_pgfault_total",
    "gitaly_cgroup_memory_pgmajfault_total",
]
TEXT = "git pack-objects was stopped: memory limit of repository cgroup 0 (64 MiB) is reached"


def configuration(root: str, limit: int = LIMIT, more: str = "") -> str:
    return f"""
        [cgroups]
        hierarchy_root = "{root}"
        {more}
        [cgroups.repositories]
        count = 1
        memory_bytes = {limit}
        """


@pytest.fixture
def root() -> Iterator[str]:
    """A group of our own, in which nothing may be left."""
    if reason := why_no_groups():
        pytest.skip(reason)
    root = f"gitaly-test-{os.getpid()}"
    yield root
    assert [path for path in left_below(root) if not path.rstrip("/").endswith(root)] == []
    remove_root(root)


@pytest.fixture
async def node(tmp_path: Path, root: str) -> AsyncIterator[Node]:
    async with a_node_with_a_repository(tmp_path, configuration(root)) as node:
        yield node


def grow(node: Node) -> str:
    """A commit with blobs that git packs only with more memory than the group has."""
    noise = random.Random(18).randbytes(40 << 20)
    repository, tree = str(node.repository), ""
    for number in range(3):
        edited = bytearray(noise)
        edited[number << 12] ^= 1
        write = ("-C", repository, "-c", "core.compression=0", "hash-object", "-w", "--stdin")
        blob = said(*write, data=edited)
        tree += f"100644 blob {blob}\tlarge{number}.bin\n"
    made = said("-C", repository, "mktree", data=tree.encode())
    commit = run_git("-C", repository, "commit-tree", "-m", "x", made)
    node.git("update-ref", "refs/heads/main", commit)
    return commit


def said(*arguments: str, data: bytes | bytearray) -> str:
    done = subprocess.run(["git", *arguments], input=data, check=True, capture_output=True)
    return done.stdout.decode().strip()


def want(commit: str) -> bytes:
    head = encode(b"command=fetch") + encode(b"object-format=sha1") + DELIM
    return head + encode(f"want {commit}\n".encode()) + encode(b"done\n") + FLUSH


async def test_over_ssh_the_user_is_told_which_limit_stopped_git(node: Node) -> None:
    request = SSHUploadPackWithSidechannelRequest(repository=A, git_protocol="version=2")
    fetched = await node.fetch("SSHUploadPackWithSidechannel", request, want(grow(node)))
    assert fetched.status == ("RESOURCE_EXHAUSTED", TEXT)
    assert fetched.band(STDERR).endswith(f"error: {TEXT}\n".encode())
    line = (await node.finished("SSHUploadPackWithSidechannel"))["error_metadata"]
    assert line["cgroup.repository"] == "default/a.git"
    assert line["cgroup.memory_limit_bytes"] == LIMIT
    assert line["cgroup.memory_peak_bytes"] > LIMIT * 0.9
    assert line["cgroup.path"].endswith("/repos-0")
    assert node.metric("gitaly_cgroup_commands_stopped_total", limit="repository") == 1


async def test_over_http_git_is_told_on_its_own_side_band_before_it_gives_up(node: Node) -> None:
    request = PostUploadPackWithSidechannelRequest(repository=A, git_protocol="version=2")
    fetched = await node.fetch("PostUploadPackWithSidechannel", request, want(grow(node)))
    assert fetched.status == ("RESOURCE_EXHAUSTED", TEXT)
    packets = [packet[4:] for packet in PktLineReader().receive(fetched.output)]
    assert packets[-2] == b"\x02" + f"error: {TEXT}\n".encode()
    assert packets[-1].startswith(b"\x03aborting due to possible repository corruption")


async def test_the_node_works_on_after_a_kill(node: Node) -> None:
    request = PostUploadPackWithSidechannelRequest(repository=A, git_protocol="version=2")
    await node.fetch("PostUploadPackWithSidechannel", request, want(grow(node)))
    fetched = await node.fetch("PostUploadPackWithSidechannel", request, want(node.commit))
    assert fetched.code == "OK"
    assert b"PACK" in fetched.output


async def test_the_whole_tree_of_a_fetch_is_in_its_groups(node: Node, root: str) -> None:
    (node.work / "more").write_bytes(os.urandom(8 << 20))
    run_git("-C", str(node.work), "add", "more")
    run_git("-C", str(node.work), "commit", "--quiet", "--message=more")
    run_git("-C", str(node.work), "push", "--quiet", str(node.repository), "main:main")
    commit = run_git("-C", str(node.work), "rev-parse", "HEAD")
    seen: dict[str, dict[str, str]] = {}

    def look() -> bool:
        for spawner in children():
            for pid in descendants(spawner):
                with contextlib.suppress(OSError):
                    name = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
                    for word in ("upload-pack", "pack-objects"):
                        if word in name.split("\0"):
                            seen[word] = groups_of(pid)
        return len(seen) == 2

    async def serve(channel: Channel) -> None:
        encoder = InputEncoder()
        channel.write(encoder.encode(memoryview(want(commit))))
        channel.write((encoder.finish(),))
        await until(look)  # nobody reads, so nobody ends
        while await channel.read():
            pass

    request = SSHUploadPackWithSidechannelRequest(repository=A, git_protocol="version=2")
    fetched = Fetched()
    await node.fetch_with("SSHUploadPackWithSidechannel", request, serve, fetched)
    assert fetched.status == ("OK", "")
    for groups in seen.values():
        inside = {groups[controller] for controller in controllers()}
        assert inside == {f"/{root}/gitaly-{os.getpid()}/repos-0"}


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


async def test_the_metrics_show_every_group_that_exists(node: Node) -> None:
    path = f"gitaly-test-{os.getpid()}/gitaly-{os.getpid()}"
    for group in (path, f"{path}/repos-0"):
        for kind in ("anon", "active_file", "inactive_file"):
            assert node.metric("gitaly_cgroup_memory_bytes", path=group, type=kind) is not None
        for name in OF_VERSION_2 if is_unified() else OF_VERSION_1:
            assert node.metric(name, path=group) is not None
        assert node.metric("gitaly_cgroup_cpu_cfs_periods_total", path=group) == 0
        assert node.metric("gitaly_cgroup_oom_kills_total", path=group) == 0
        for kind in ("user", "kernel"):
            assert node.metric("gitaly_cgroup_cpu_usage_total", path=group, type=kind) is not None
    limit = node.metric("gitaly_cgroup_memory_limit_bytes", path=f"{path}/repos-0")
    assert limit == LIMIT
    for subsystem in ("memory", "cpu"):
        labels = {"path": f"{path}/repos-0", "subsystem": subsystem}
        assert node.metric("gitaly_cgroup_procs_total", **labels) is not None


async def test_a_limit_below_what_a_process_needs_keeps_the_node_from_starting(
    tmp_path: Path, root: str
) -> None:
    with pytest.raises(CgroupsUnusable, match=r"^self-test of cgroups: "):
        async with a_node_with_a_repository(tmp_path, configuration(root, limit=4096)):
            pass


async def test_a_node_may_be_told_to_run_without_groups_that_do_not_work(
    tmp_path: Path, root: str
) -> None:
    more = f'mountpoint = "{tmp_path}"\nrequired = false'
    async with a_node_with_a_repository(tmp_path, configuration(root, more=more)) as node:
        request = PostUploadPackWithSidechannelRequest(repository=A, git_protocol="version=2")
        fetched = await node.fetch("PostUploadPackWithSidechannel", request, want(node.commit))
        [line] = node.lines("cgroups don't work, git runs without limits")
    assert fetched.code == "OK"
    assert line["error"].startswith(f"no control groups are mounted at {tmp_path}")
