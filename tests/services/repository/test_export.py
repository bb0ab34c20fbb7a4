import io
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import (
    CreateBundleFromRefListRequest,
    CreateBundleRequest,
    FastExportRequest,
    GetConfigRequest,
    GetSnapshotRequest,
)
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.repository import ExportServicer
from gitaly.storage.snapshot import kept_config
from tests.git.support import Bare, newcomers, run_git
from tests.services.repository.conftest import Started
from tests.services.repository.filling import (
    collected,
    commit_files,
    joined,
    lose_packs,
    sizes_of,
    stream,
    take_one,
    written_by,
)
from tests.storage.support import message, put
from tests.transport.wires import until

CALL: Any = None  # none of these calls looks at it


class Caller:
    """What a call that logs is asked."""

    correlation_id = "x"


LOGGED: Any = Caller()


async def bundled(export: ExportServicer, *patterns: bytes) -> bytes:
    request = CreateBundleFromRefListRequest(repository=message(), patterns=patterns)
    return await joined(export.CreateBundleFromRefList(stream(request), CALL))


async def snapshot_of(export: ExportServicer, path: str = "a.git") -> bytes:
    return await joined(export.GetSnapshot(GetSnapshotRequest(repository=message(path)), LOGGED))


def heads_of(bundle: bytes, directory: Path) -> list[str]:
    (directory / "x.bundle").write_bytes(bundle)
    return run_git("bundle", "list-heads", str(directory / "x.bundle")).splitlines()


async def test_a_bundle_holds_everything(
    export: ExportServicer, either: Bare, tmp_path: Path
) -> None:
    commit_files(either, {"a": os.urandom(1 << 20)})
    either.git("tag", "-m", "one", "v1", "main")
    responses = await collected(
        export.CreateBundle(CreateBundleRequest(repository=message()), CALL)
    )
    assert max(sizes_of(responses)) <= 128 * 1024
    (tmp_path / "b").write_bytes(b"".join(response.data for response in responses))
    run_git("clone", "--quiet", "--mirror", str(tmp_path / "b"), str(tmp_path / "c.git"))
    copy = Bare(str(tmp_path / "c.git"))
    assert copy.git("show-ref", "--head") == either.git("show-ref", "--head")


async def test_there_is_no_empty_bundle(export: ExportServicer, bare: Bare) -> None:
    with pytest.raises(Internal) as caught:
        await collected(export.CreateBundle(CreateBundleRequest(repository=message()), CALL))
    assert caught.value.message == "create bundle: refusing to create empty bundle"
    for patterns in ((b"refs/heads/main",), (), (b"--all",), (b"", b"--all")):
        with pytest.raises(FailedPrecondition) as refused:
            await bundled(export, *patterns)
        assert refused.value.message == "create bundle: refusing to create empty bundle"


async def test_a_bundle_of_patterns_holds_what_they_reach(
    export: ExportServicer, bare: Bare, tmp_path: Path
) -> None:
    one = commit_files(bare, {"a": b"a"})
    two = commit_files(bare, {"a": b"b"}, "refs/heads/two", one)
    main, other = f"{one} refs/heads/main", f"{two} refs/heads/two"
    assert heads_of(await bundled(export, b"refs/heads/two"), tmp_path) == [other]
    assert heads_of(await bundled(export, b"two", b"^main", b"none"), tmp_path) == [other]
    assert heads_of(await bundled(export, b"main\ntwo"), tmp_path) == [main, other]
    assert heads_of(await bundled(export, b"main", b"", b"two"), tmp_path) == [main]
    assert heads_of(await bundled(export, b"--branches=t*"), tmp_path) == [other]
    assert heads_of(await bundled(export, b"--all", b"--not", b"main"), tmp_path) == [other]
    assert heads_of(await bundled(export, b"--all"), tmp_path) == [main, other, f"{one} HEAD"]


async def test_patterns_may_come_in_many_messages(
    export: ExportServicer, bare: Bare, tmp_path: Path
) -> None:
    one = commit_files(bare, {"a": b"a"})
    commit_files(bare, {"a": b"b"}, "refs/heads/two")
    lines = "".join(f"create refs/x/{number} {one}\n" for number in range(3000))
    bare.git("update-ref", "--stdin", data=lines)
    requests = [CreateBundleFromRefListRequest(repository=message(), patterns=[b"main"])]
    requests += [
        CreateBundleFromRefListRequest(patterns=[b"refs/x/%d" % number]) for number in range(3000)
    ]
    bundle = await joined(export.CreateBundleFromRefList(stream(*requests), CALL))
    assert len(heads_of(bundle, tmp_path)) == 3001


@pytest.mark.parametrize("pattern", [b"--output=x", b"main\n--upload-pack=x", b"-O", b"a\0b"])
async def test_a_pattern_is_never_an_option(
    export: ExportServicer, bare: Bare, started: Started, pattern: bytes
) -> None:
    with pytest.raises(InvalidRequest):
        await bundled(export, b"main", pattern)
    assert started.subcommands == []


async def test_a_bundle_begins_with_a_repository(export: ExportServicer) -> None:
    for requests, kind, text in (
        ((), Internal, "EOF"),
        ((CreateBundleFromRefListRequest(),), InvalidRequest, "repository not set"),
    ):
        with pytest.raises(NodeError) as caught:
            await collected(export.CreateBundleFromRefList(stream(*requests), CALL))
        assert (type(caught.value), caught.value.message) == (kind, text)


async def test_bundling_removes_worktrees_that_were_forgotten(
    export: ExportServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": b"a"})
    bare.git("worktree", "add", "--quiet", "--detach", f"{bare.path}/gitlab-worktree/old", "main")
    bare.git("worktree", "add", "--quiet", "--detach", f"{bare.path}/gitlab-worktree/new", "main")
    put(f"{bare.path}/gitlab-worktree/unknown/file")
    bare.git("worktree", "add", "--quiet", "--detach", f"{bare.path}/gitlab-worktree/gone", "main")
    shutil.rmtree(f"{bare.path}/gitlab-worktree/gone")
    for name in ("old", "unknown"):
        past = time.time() - 7 * 3600
        os.utime(f"{bare.path}/gitlab-worktree/{name}", (past, past))
    await collected(export.CreateBundle(CreateBundleRequest(repository=message()), CALL))
    assert os.listdir(f"{bare.path}/gitlab-worktree") == ["new"]
    assert os.listdir(f"{bare.path}/worktrees") == ["new"]


async def test_fast_export_is_gits(export: ExportServicer, either: Bare) -> None:
    commit_files(either, {"a": b"a\n", "b": os.urandom(300_000)})
    request = FastExportRequest(repository=message())
    written = written_by("git", "--git-dir", either.path, "fast-export", "--all")
    assert await joined(export.FastExport(request, CALL)) == written


async def test_a_failing_export_is_only_shorter(export: ExportServicer, bare: Bare) -> None:
    request = FastExportRequest(repository=message())
    assert await collected(export.FastExport(request, CALL)) == []
    commit_files(bare, {"a": b"a\n"})
    lose_packs(bare)
    assert await joined(export.FastExport(request, CALL)) == b""


async def test_fast_export_has_its_own_words_for_missing_repositories(
    export: ExportServicer, root: Path
) -> None:
    put(f"{root}/file")
    for repository, kind, text in (
        (None, InvalidRequest, "repository is not set"),
        (message("none.git"), NotFound, "cmd start failed: get repo path: repository not found"),
        (
            message("file"),
            Internal,
            "cmd start failed: get repo path: validate git directory: not a directory",
        ),
    ):
        with pytest.raises(kind) as caught:
            await collected(export.FastExport(FastExportRequest(repository=repository), CALL))
        assert caught.value.message == text


async def test_an_export_that_is_left_early_ends_git(export: ExportServicer, bare: Bare) -> None:
    commit_files(bare, {"a": os.urandom(6 << 20)})
    await take_one(export.FastExport(FastExportRequest(repository=message()), CALL))
    await take_one(export.CreateBundle(CreateBundleRequest(repository=message()), CALL))
    await take_one(export.GetSnapshot(GetSnapshotRequest(repository=message()), LOGGED))
    await until(lambda: newcomers.left() == [])


async def test_a_snapshot_becomes_the_same_repository(
    export: ExportServicer, either: Bare, tmp_path: Path
) -> None:
    commit_files(either, {"a": os.urandom(300_000)})
    either.git("repack", "-adq")
    commit_files(either, {"b": b"b"}, "refs/heads/two")
    either.git("pack-refs", "--all")
    either.git("update-ref", "refs/heads/loose", "main")
    either.git("config", "remote.origin.url", "https://secret@example.com/")
    for name in ("custom_hooks/pre-receive", "info/attributes", "description"):
        put(f"{either.path}/{name}", "x")
    data = await snapshot_of(export)
    copy = tmp_path / "copy.git"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        tar.extractall(copy, filter="data")
    assert names[:3] == ["HEAD", "packed-refs", "config"]
    assert not {"custom_hooks/pre-receive", "info/attributes", "description"} & set(names)
    assert "secret" not in (copy / "config").read_text()
    assert Bare(str(copy)).git("show-ref", "--head") == either.git("show-ref", "--head")
    assert Bare(str(copy)).git("fsck", "--full") == ""


async def test_names_that_are_not_utf8_survive_a_snapshot(
    export: ExportServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": b"a"})
    os.rename(f"{bare.path}/refs/heads/main".encode(), os.fsencode(bare.path) + b"/refs/heads/\xe9")
    with tarfile.open(fileobj=io.BytesIO(await snapshot_of(export))) as tar:
        assert b"refs/heads/\xe9" in map(os.fsencode, tar.getnames())


async def test_a_snapshot_takes_nothing_but_files_and_makes_them_readable(
    export: ExportServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": b"a"})
    os.symlink("/etc/passwd", f"{bare.path}/refs/heads/link")
    os.mkfifo(f"{bare.path}/refs/heads/pipe")
    put(f"{bare.path}/objects/pack/pack-{'a' * 40}.keep")
    os.chmod(f"{bare.path}/HEAD", 0o400)
    os.chmod(f"{bare.path}/refs/heads", 0o500)
    with tarfile.open(fileobj=io.BytesIO(await snapshot_of(export))) as tar:
        modes = {entry.name: oct(entry.mode) for entry in tar}
    os.chmod(f"{bare.path}/refs/heads", 0o700)
    assert not {"refs/heads/link", "refs/heads/pipe"} & set(modes)
    assert not [name for name in modes if name.endswith(".keep")]
    assert (modes["HEAD"], modes["refs/heads"]) == ("0o666", "0o777")


async def test_references_that_vanish_meanwhile_are_left_out(
    export: ExportServicer, bare: Bare
) -> None:
    commit = commit_files(bare, {"a": os.urandom(2 << 20)})
    lines = "".join(f"create refs/x/{number}/a {commit}\n" for number in range(2000))
    bare.git("update-ref", "--stdin", data=lines)
    responses = export.GetSnapshot(GetSnapshotRequest(repository=message()), LOGGED)
    data = (await anext(aiter(responses))).data  # some of refs/x have been taken
    bare.git("pack-refs", "--all", "--prune")
    data += await joined(responses)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert 0 < len([name for name in tar.getnames() if name.endswith("/a")]) < 2000


async def test_objects_of_alternates_are_in_the_snapshot(
    export: ExportServicer, bare: Bare, root: Path, tmp_path: Path
) -> None:
    commit_files(bare, {"a": b"a"})
    bare.git("clone", "--bare", "--quiet", "--shared", bare.path, str(root / "b.git"))
    with tarfile.open(fileobj=io.BytesIO(await snapshot_of(export, "b.git"))) as tar:
        tar.extractall(tmp_path / "copy", filter="data")
    assert Bare(str(tmp_path / "copy")).git("fsck", "--full") == ""


async def test_unusable_alternates_leave_out_the_end_of_the_archive(
    export: ExportServicer, bare: Bare, tmp_path: Path
) -> None:
    whole = await snapshot_of(export)
    outside = tmp_path / "outside"
    outside.mkdir()
    put(f"{outside}/pack/pack-{'a' * 40}.pack", "secret")
    put(f"{bare.path}/objects/info/alternates", f"{outside}\n")
    assert await snapshot_of(export) == whole[:-1024]
    os.symlink(outside, f"{bare.path}/inside")
    put(f"{bare.path}/objects/info/alternates", "../inside\n")
    assert await snapshot_of(export) == whole[:-1024]


async def test_a_link_in_the_place_of_a_file_fails_the_snapshot(
    export: ExportServicer, bare: Bare
) -> None:
    os.symlink("/etc/passwd", f"{bare.path}/packed-refs")
    with pytest.raises(Internal) as caught:
        await snapshot_of(export)
    assert caught.value.message == "building snapshot failed: packed-refs is not a regular file"


def test_a_snapshot_keeps_of_the_config_what_git_needs_to_read_it() -> None:
    text = (
        b"[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
        b'[remote "x"]\n\turl = y\n[Extensions "a"]\n\tobjectFormat = sha256\n'
    )
    assert kept_config(text) == (
        b'[core]\n\trepositoryformatversion = 1\n[Extensions "a"]\n\tobjectFormat = sha256\n\n'
    )
    assert kept_config(b"[user]\n\tname = x\n") == b""


async def test_the_config_is_sent_as_it_is(export: ExportServicer, bare: Bare) -> None:
    text = b"# x\n" * 100_000
    put(f"{bare.path}/config", text.decode())
    request = GetConfigRequest(repository=message())
    responses = await collected(export.GetConfig(request, CALL))
    assert b"".join(response.data for response in responses) == text
    assert max(sizes_of(responses)) <= 128 * 1024
    os.unlink(f"{bare.path}/config")
    with pytest.raises(NotFound) as caught:
        await collected(export.GetConfig(request, CALL))
    assert caught.value.message == "opening gitconfig: open config: no such file or directory"
