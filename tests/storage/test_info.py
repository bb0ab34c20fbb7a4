import os
import time
from pathlib import Path

import pytest

from gitaly.errors import Internal, NotFound
from gitaly.git import Formats
from gitaly.storage import (
    RepositoryInfo,
    Storages,
    directory_size,
    repository_info,
)
from gitaly.storage.info import Alternates, ReferenceFiles
from gitaly.storage.object_info import LooseObjects, Packs
from gitaly.storage.pack_files import Bitmap, CommitGraph, MultiPackIndex
from tests.git.support import Bare, run_git
from tests.storage.support import message, skeleton


@pytest.fixture
def made(root: Path) -> Bare:
    path = str(root / "a.git")
    run_git("init", "--bare", "--quiet", "--template=", path)
    return Bare(path)


def info_of(storages: Storages, relative_path: str = "a.git") -> RepositoryInfo:
    repository = storages.existing(message(relative_path))
    return repository_info(repository, Formats().of(repository.path))


def test_the_size_of_a_directory_is_that_of_its_files(root: Path) -> None:
    skeleton(root)
    (root / "a.git/objects/blob").write_bytes(b"x" * 16384)
    (root / "a.git/link").symlink_to("HEAD")
    (root / "a.git/worktrees").mkdir()
    (root / "a.git/worktrees/file").write_bytes(b"x" * 100)
    head, config = len("ref: refs/heads/main\n"), len("[core]\n\tbare = true\n")
    assert directory_size(str(root / "a.git")) == 16384 + len("HEAD") + 100 + head + config
    with pytest.raises(FileNotFoundError):
        directory_size(str(root / "none"))


def test_an_empty_repository_has_nothing(storages: Storages, made: Bare) -> None:
    info = info_of(storages)
    assert info.references == ReferenceFiles(backend="files")
    assert info.loose == LooseObjects()
    assert info.packs == Packs()
    assert (info.commit_graph, info.alternates, info.last_full_repack) == (None, None, None)
    assert info.is_object_pool is False
    assert info.size == directory_size(made.path)


def test_loose_objects_are_counted_by_age_and_name(storages: Storages, made: Bare) -> None:
    made.git("update-ref", "refs/heads/a", made.commit())
    objects = Path(made.path) / "objects"
    (objects / "ab").mkdir(exist_ok=True)
    (objects / "ab/tmp_obj_x").write_bytes(b"123")
    (objects / "ab" / ("0" * 38)).write_bytes(b"1234")
    for days, name in ((10.01, "1"), (9.99, "2")):
        (objects / "ab" / (name * 38)).write_bytes(b"12345")
        os.utime(objects / "ab" / (name * 38), (0, time.time() - days * 86400))
    loose = info_of(storages).loose
    commit_and_tree = sum(
        file.stat().st_size
        for file in objects.glob("??/*")
        if file.parent.name != "ab"
    )  # fmt: skip
    assert loose == LooseObjects(
        count=5,
        size=commit_and_tree + 4 + 5 + 5,
        stale_count=1,
        stale_size=5,
        garbage_count=1,
        garbage_size=3,
    )


def test_references_are_counted_loose_and_packed(storages: Storages, made: Bare) -> None:
    commit = made.commit()
    made.git("update-ref", "refs/heads/a", commit)
    made.git("pack-refs", "--all")
    made.git("update-ref", "refs/heads/b", commit)
    made.git("update-ref", "refs/tags/c", commit)
    packed = (Path(made.path) / "packed-refs").stat().st_size
    assert info_of(storages).references == ReferenceFiles(
        backend="files", loose_count=2, packed_bytes=packed
    )


def test_packs_and_their_companions(storages: Storages, made: Bare) -> None:
    made.git("update-ref", "refs/heads/a", made.commit())
    made.git("-c", "pack.writeReverseIndex=true", "repack", "-adbq")
    pack = Path(made.path) / "objects/pack"
    size = sum(file.stat().st_size for file in pack.glob("*.pack"))
    for name, extensions in (("keep", "pack keep mtimes"), ("cruft", "pack mtimes")):
        for extension in extensions.split():
            (pack / f"pack-{name}.{extension}").write_bytes(b"12345")
    (pack / "tmp_pack_x").write_bytes(b"123")
    packs = info_of(storages).packs
    assert packs == Packs(
        count=3,
        size=size + 10,
        reverse_index_count=1,
        cruft_count=1,
        cruft_size=5,
        keep_count=1,
        keep_size=5,
        garbage_count=1,
        garbage_size=3,
        bitmap=Bitmap(version=1, has_hash_cache=True, has_lookup_table=False),
    )


def test_a_multi_pack_index_is_read(storages: Storages, made: Bare) -> None:
    made.git("update-ref", "refs/heads/a", made.commit())
    made.git("repack", "-adq")
    made.git("-c", "pack.writeBitmapLookupTable=true", "multi-pack-index", "write", "--bitmap")
    packs = info_of(storages).packs
    assert packs.multi_pack_index == MultiPackIndex(
        version=1,
        pack_count=1,
        has_large_offsets=False,
        has_bitmapped_packs=False,
        has_reverse_index=True,
    )
    assert packs.multi_pack_index_bitmap == Bitmap(
        version=1, has_hash_cache=True, has_lookup_table=True
    )


def test_commit_graphs_are_read_alone_and_in_chains(storages: Storages, made: Bare) -> None:
    first = made.commit()
    made.git("update-ref", "refs/heads/a", first)
    made.git("commit-graph", "write", "--reachable")
    assert info_of(storages).commit_graph == CommitGraph(
        chain_length=0,
        has_bloom_filters=False,
        has_generation_data=True,
        has_generation_data_overflow=False,
    )
    (Path(made.path) / "objects/info/commit-graph").unlink()
    made.git("commit-graph", "write", "--reachable", "--split", "--changed-paths")
    made.git("update-ref", "refs/heads/a", made.commit("two", first))
    made.git("commit-graph", "write", "--reachable", "--split=no-merge", "--changed-paths")
    assert info_of(storages).commit_graph == CommitGraph(
        chain_length=2,
        has_bloom_filters=True,
        has_generation_data=True,
        has_generation_data_overflow=False,
    )


def test_the_time_of_the_last_full_repack_is_that_of_a_file(storages: Storages, made: Bare) -> None:
    path = Path(made.path) / ".gitaly-full-repack-timestamp"
    path.touch()
    os.utime(path, (0, 1_700_000_000))
    assert info_of(storages).last_full_repack == 1_700_000_000


def test_a_member_counts_the_objects_of_its_pool(
    storages: Storages, made: Bare, root: Path
) -> None:
    pool_path = "@pools/ab/cd/abcd" + "0" * 60 + ".git"
    run_git("init", "--bare", "--quiet", "--template=", str(root / pool_path))
    pool = Bare(str(root / pool_path))
    pool.git("update-ref", "refs/heads/a", pool.commit())
    pool.git("repack", "-adbq")
    made.git("update-ref", "refs/heads/b", made.commit("loose"))
    alternates = Path(made.path) / "objects/info/alternates"
    alternates.write_text(f"# a comment\n\n../../{pool_path}/objects")
    os.utime(alternates, (0, 1_700_000_000))
    info = info_of(storages)
    assert info.alternates == Alternates(
        object_directories=(f"../../{pool_path}/objects",), last_modified=1_700_000_000
    )
    assert (info.loose.count, info.packs.count) == (2, 1)
    assert info.packs.bitmap is not None
    assert info.size == directory_size(made.path) + directory_size(pool.path)
    assert info_of(storages, pool_path).is_object_pool is True


@pytest.mark.parametrize("line", ["../../gone.git/objects", "/etc", "../../../../outside/objects"])
def test_a_pool_that_is_not_there_is_not_found(storages: Storages, made: Bare, line: str) -> None:
    (Path(made.path) / "objects/info/alternates").write_text(line)
    with pytest.raises(NotFound) as caught:
        info_of(storages)
    assert caught.value.message == (
        "deriving pool loose objects info: getting repository path: repository not found"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pack/pack-1.bitmap", "reading bitmap info: unknown format"),
        ("pack/multi-pack-index", "reading multi-pack-index: unknown format"),
        ("info/commit-graph", "checking commit-graph info: unknown format"),
    ],
)
def test_files_that_are_not_what_their_name_says_are_an_error(
    storages: Storages, made: Bare, name: str, text: str
) -> None:
    directory = Path(made.path) / "objects" / name
    directory.parent.mkdir(exist_ok=True)
    directory.write_bytes(b"rubbish" * 10)
    with pytest.raises(Internal) as caught:
        info_of(storages)
    assert caught.value.message == f"deriving repository info: {text}"
    directory.write_bytes(b"ru")
    with pytest.raises(Internal, match="file is too short"):
        info_of(storages)
