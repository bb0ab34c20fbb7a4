import bz2
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import GetArchiveRequest
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.repository import ArchiveServicer
from tests.git.support import Bare, newcomers
from tests.services.repository.conftest import Started
from tests.services.repository.filling import (
    collected,
    commit_files,
    joined,
    sizes_of,
    take_one,
    written_by,
)
from tests.storage.support import message
from tests.transport.wires import until

CALL: Any = None  # none of these calls looks at it
TAR = GetArchiveRequest.TAR
FILES = {
    "README.md": b"hello\n",
    "src/app.py": b"print()\n",
    "src/lib/util.py": b"pass\n",
    "src/lib/old.py": b"",
    ":colon": b"1",
}


def request_for(**more: Any) -> GetArchiveRequest:
    given: dict[str, Any] = {"commit_id": "main", "prefix": "p", "format": TAR}
    return GetArchiveRequest(repository=message(), **(given | more))


async def archived(archives: ArchiveServicer, **more: Any) -> bytes:
    return await joined(archives.GetArchive(request_for(**more), CALL))


def files_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [entry.name for entry in tar if entry.isfile()]


async def test_an_archive_holds_the_tree_of_the_commit(
    archives: ArchiveServicer, either: Bare
) -> None:
    commit = commit_files(either, FILES)
    data = await archived(archives, commit_id=commit)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.pax_headers == {"comment": commit}
        assert {e.name: tar.extractfile(e).read() for e in tar if e.isfile()} == {  # type: ignore[union-attr]
            f"p/{name}": content for name, content in FILES.items()
        }
        assert {e.mtime for e in tar} == {1700000000}


@pytest.mark.parametrize(
    ("form", "plain"),
    [
        (TAR, bytes),
        (GetArchiveRequest.TAR_GZ, gzip.decompress),
        (GetArchiveRequest.TAR_BZ2, bz2.decompress),
    ],
)
async def test_tar_comes_compressed_as_asked(
    archives: ArchiveServicer, bare: Bare, form: Any, plain: Callable[[bytes], bytes]
) -> None:
    commit_files(bare, FILES)
    expected = await archived(archives)
    assert plain(await archived(archives, format=form)) == expected


async def test_compressed_archives_are_those_of_gzip_to_the_byte(
    archives: ArchiveServicer, bare: Bare
) -> None:
    commit_files(bare, FILES)
    tar = await archived(archives)
    compressed = written_by("gzip", "-c", "-n", data=tar)
    assert await archived(archives, format=GetArchiveRequest.TAR_GZ) == compressed


async def test_zip_is_the_format_of_a_request_that_names_none(
    archives: ArchiveServicer, bare: Bare
) -> None:
    commit_files(bare, FILES)
    data = await archived(archives, format=0)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("p/README.md") == b"hello\n"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"path": b"src/lib"}, ["p/src/lib/old.py", "p/src/lib/util.py"]),
        ({"path": b"/src//lib/"}, ["p/src/lib/old.py", "p/src/lib/util.py"]),
        ({"path": b"README.md", "prefix": "a/b"}, ["a/b/README.md"]),
        ({"path": b"README.md", "prefix": ""}, ["/README.md"]),
        ({"path": b":colon"}, ["p/:colon"]),
        ({"path": b"src", "exclude": [b"src/lib/"]}, ["p/src/app.py"]),
        ({"exclude": [b"src", b"README.md"]}, ["p/:colon"]),
        ({"path": b"src", "elide_path": True, "exclude": [b"src/lib"]}, ["p/app.py"]),
        ({"path": b"src/lib", "elide_path": True}, ["p/old.py", "p/util.py"]),
        ({"path": b".", "elide_path": True, "commit_id": "other"}, ["p/only"]),
        ({"commit_id": "v1"}, ["p/only"]),
    ],
)  # fmt: skip
async def test_what_is_in_an_archive_is_what_was_asked_for(
    archives: ArchiveServicer, bare: Bare, wanted: dict[str, Any], names: list[str]
) -> None:
    commit_files(bare, FILES)
    commit_files(bare, {"only": b"x"}, "refs/heads/other")
    bare.git("tag", "-m", "one", "v1", "other")
    assert files_in(await archived(archives, **wanted)) == names


@pytest.mark.parametrize(
    ("wanted", "kind", "text"),
    [
        ({"repository": message("none.git")}, NotFound, "repository not found"),
        ({"path": b"src/../.."}, InvalidRequest, "relative path escapes root directory"),
        ({"exclude": [b"../x"]}, InvalidRequest, "relative path escapes root directory"),
        ({"commit_id": ""}, InvalidRequest, "invalid commitId: empty revision"),
        ({"commit_id": "-o/x"}, InvalidRequest, "invalid commitId: revision can't start with '-'"),
        ({"commit_id": "main:src"}, InvalidRequest, "invalid commitId: revision can't contain ':'"),
        ({"commit_id": "a\0b"}, InvalidRequest, "invalid commitId: revision can't contain NUL"),
        ({"format": 9}, InvalidRequest, "invalid format"),
        ({"path": b"a\0b"}, InvalidRequest, "relative path contains a null byte"),
        ({"prefix": "a\0b"}, InvalidRequest, "prefix contains a null byte"),
        ({"path": b"x" * 200_000}, InvalidRequest, "paths are too long or too many"),
        ({"path": b"none"}, FailedPrecondition, "path doesn't exist"),
        ({"path": b"README.md/x"}, FailedPrecondition, "path doesn't exist"),
        ({"path": b"src", "commit_id": "none"}, FailedPrecondition, "path doesn't exist"),
        ({"commit_id": "none"}, Internal, "object not found"),
        ({"commit_id": "bare"}, FailedPrecondition, "path doesn't exist"),
        ({"exclude": [b"src", b"sr*"]}, FailedPrecondition, "exclude[1] doesn't exist"),
        (
            {"path": b"src", "exclude": [b"README.md"], "elide_path": True},
            InvalidRequest,
            'invalid exclude: "README.md" is not a subdirectory of "src"',
        ),
        (
            {"exclude": [b"src"], "elide_path": True},
            InvalidRequest,
            'invalid exclude: "src" is not a subdirectory of "."',
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_archived_is_refused_before_git_starts(
    archives: ArchiveServicer,
    bare: Bare,
    started: Started,
    wanted: dict[str, Any],
    kind: type[NodeError],
    text: str,
) -> None:
    commit_files(bare, FILES)
    bare.git("update-ref", "refs/heads/bare", bare.commit())
    given: dict[str, Any] = {"repository": message(), "commit_id": "main", "format": TAR}
    request = GetArchiveRequest(**(given | wanted))
    with pytest.raises(kind) as caught:
        await collected(archives.GetArchive(request, CALL))
    assert caught.value.message == text
    assert started.subcommands == []


async def test_a_file_in_the_place_of_the_path_to_elide_makes_git_fail(
    archives: ArchiveServicer, bare: Bare
) -> None:
    commit_files(bare, FILES)
    with pytest.raises(Internal) as caught:
        await archived(archives, path=b"README.md", elide_path=True)
    assert caught.value.message == "exit status 128"


async def test_attributes_of_the_archived_tree_decide_what_is_exported(
    archives: ArchiveServicer, bare: Bare
) -> None:
    kept = {".gitattributes": b"secret export-ignore\nv export-subst\n", "secret": b"s"}
    commit_files(bare, kept | {"v": b"$Format:%an$\n"})
    data = await archived(archives)
    assert files_in(data) == ["p/.gitattributes", "p/v"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        substituted = tar.extractfile("p/v")
        assert substituted is not None
        assert substituted.read() == b"Jane Doe\n"


async def test_a_large_archive_comes_in_messages_of_128_kib(
    archives: ArchiveServicer, bare: Bare
) -> None:
    commit_files(bare, {"large": os.urandom(3 << 20)})
    responses = await collected(archives.GetArchive(request_for(), CALL))
    sizes = sizes_of(responses)
    assert max(sizes) <= 128 * 1024
    assert sum(sizes) > 3 << 20


@pytest.mark.parametrize("form", [TAR, GetArchiveRequest.TAR_GZ])
async def test_a_reader_who_stops_makes_git_wait_and_who_goes_ends_it(
    archives: ArchiveServicer, bare: Bare, form: Any
) -> None:
    commit_files(bare, {"large": os.urandom(12 << 20)})
    responses = archives.GetArchive(request_for(format=form), CALL)
    await anext(aiter(responses))
    assert newcomers.left() != []
    await take_one(responses)
    await until(lambda: newcomers.left() == [])
