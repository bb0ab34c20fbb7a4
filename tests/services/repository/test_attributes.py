from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitaly._pb.repository_pb2 import GetFileAttributesRequest, GetInfoAttributesRequest
from gitaly.errors import Internal, InvalidRequest, NodeError
from gitaly.git.index_file import index_file
from gitaly.services.repository import AttributesServicer
from tests.git.support import Bare, run_git
from tests.services.repository.conftest import Started
from tests.services.repository.filling import collected, commit_files
from tests.storage.support import entries, message

CALL: Any = None  # none of these calls looks at it
TOO_LONG = "revision and attributes are too long or too many"
NULL_BYTES = "revision and attributes must not contain null bytes"


async def told(servicer: AttributesServicer, /, **more: Any) -> list[tuple[str, str, str]]:
    given: dict[str, Any] = {"revision": b"main", "attributes": ["text"], "paths": ["a"]}
    request = GetFileAttributesRequest(repository=message(), **(given | more))
    response = await servicer.GetFileAttributes(request, CALL)
    return [(info.path, info.attribute, info.value) for info in response.attribute_infos]


async def test_attributes_are_those_of_the_revision_in_every_directory(
    attributes: AttributesServicer, either: Bare
) -> None:
    first = commit_files(
        either,
        {
            ".gitattributes": b"*.py diff=python text\n*.bin binary\n*.x -text\n",
            "sub/.gitattributes": b"*.py !text\n",
            "sub/deep/.gitattributes": b"z.py text=auto\n",
        },
    )
    commit_files(either, {"a": b"a"})
    paths = ["a.py", "sub/b.py", "sub/deep/z.py", "c.bin", "d.x", "none"]
    assert await told(
        attributes, revision=first.encode(), attributes=["text", "diff", "binary"], paths=paths
    ) == [
        ("a.py", "text", "set"),
        ("a.py", "diff", "python"),
        ("sub/b.py", "diff", "python"),
        ("sub/deep/z.py", "text", "auto"),
        ("sub/deep/z.py", "diff", "python"),
        ("c.bin", "text", "unset"),
        ("c.bin", "diff", "unset"),
        ("c.bin", "binary", "set"),
        ("d.x", "text", "unset"),
    ]
    assert await told(attributes, attributes=["text", "diff"], paths=paths) == []


async def test_odd_paths_and_values_come_back_as_they_are(
    attributes: AttributesServicer, bare: Bare
) -> None:
    commit_files(bare, {".gitattributes": "*.ü a=wért\n".encode(), ":x/.gitattributes": b"* a=b\n"})
    paths = ["-x.ü", "sp ace\n.ü", ":x/y", "./q.ü", "r/../s.ü"]
    assert await told(attributes, attributes=["a"], paths=paths) == [
        ("-x.ü", "a", "wért"),
        ("sp ace\n.ü", "a", "wért"),
        (":x/y", "a", "b"),
        ("./q.ü", "a", "wért"),
        ("r/../s.ü", "a", "wért"),
    ]


async def test_many_paths_in_many_directories(attributes: AttributesServicer, bare: Bare) -> None:
    files = {f"{number:0>100}/.gitattributes": b"* a=%d\n" % number for number in range(3000)}
    commit_files(bare, files)
    paths = [f"{number:0>100}/x" for number in range(3000)]
    found = await told(attributes, attributes=["a"], paths=paths)
    assert found == [(path, "a", str(number)) for number, path in enumerate(paths)]


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        ({"revision": b""}, InvalidRequest, "revision is required"),
        ({"paths": []}, InvalidRequest, "file paths are required"),
        ({"attributes": []}, InvalidRequest, "attributes are required"),
        ({"revision": b"-x"}, Internal, "check attr: read line: EOF"),
        ({"revision": b"a\0"}, InvalidRequest, NULL_BYTES),
        ({"attributes": ["x" * 200_000]}, InvalidRequest, TOO_LONG),
        ({"paths": ["a\0b"]}, Internal, "check attr: path with NUL byte not allowed"),
    ],
)  # fmt: skip
async def test_what_cannot_have_attributes_starts_no_git(
    attributes: AttributesServicer,
    bare: Bare,
    started: Started,
    more: dict[str, Any],
    kind: type[NodeError],
    text: str,
) -> None:
    with pytest.raises(kind) as caught:
        await told(attributes, **more)
    assert caught.value.message == text
    assert started.subcommands == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"revision": b"none"}, "check attr: read line: EOF"),
        ({"paths": ["a", "../b"]}, "check attr: read line: EOF"),
        ({"paths": ["/etc/passwd"]}, "check attr: read line: EOF"),
        ({"attributes": ["a b"]}, "check attr: read line: EOF"),
        (
            {"attributes": ["--all"]},
            "check attr: start check-attr command: "
            "positional arg \"--all\" cannot start with dash '-': invalid argument",
        ),
    ],
)
async def test_what_git_refuses_is_an_error_and_leaves_no_files(
    attributes: AttributesServicer, bare: Bare, root: Path, more: dict[str, Any], text: str
) -> None:
    commit_files(bare, {".gitattributes": b"* text\n"})
    with pytest.raises(Internal) as caught:
        await told(attributes, **more)
    assert caught.value.message == text
    assert [name for name in entries(root) if name.startswith("+gitaly/tmp/a")] == []


async def test_info_attributes_are_heads(attributes: AttributesServicer, either: Bare) -> None:
    request = GetInfoAttributesRequest(repository=message())
    [nothing] = await collected(attributes.GetInfoAttributes(request, CALL))
    assert nothing.attributes == b""
    text = b"* text\n" * 50_000
    commit_files(either, {".gitattributes": text})
    responses = await collected(attributes.GetInfoAttributes(request, CALL))
    assert b"".join(response.attributes for response in responses) == text
    assert max(len(response.attributes) for response in responses) <= 128 * 1024


@settings(max_examples=20, deadline=None)
@given(
    names=st.sets(st.integers(1, 4200), min_size=1, max_size=12),
    form=st.sampled_from(["sha1", "sha256"]),
)
def test_git_reads_the_index_files_that_we_write(
    tmp_path_factory: pytest.TempPathFactory, names: set[int], form: str
) -> None:
    directory = tmp_path_factory.mktemp("i")
    run_git("init", "--bare", "--quiet", f"--object-format={form}", str(directory))
    repository = Bare(str(directory))
    blob = repository.git("hash-object", "-w", "--stdin", data="x")
    paths = [b"d%d/" % length + b"n" * length for length in names]
    (directory / "index").write_bytes(index_file([(path, blob) for path in paths], form))
    listed = repository.git("ls-files", "--stage", "-z").split("\0")
    assert listed[:-1] == [f"100644 {blob} 0\t{path.decode()}" for path in sorted(paths)]


async def test_nothing_is_specified_in_a_tree_that_is_not_there(
    attributes: AttributesServicer, either: Bare
) -> None:
    commit_files(either, {".gitattributes": b"* text\n"})
    digits = len(either.git("rev-parse", "main"))
    assert await told(attributes, revision=b"d" * digits) == []
