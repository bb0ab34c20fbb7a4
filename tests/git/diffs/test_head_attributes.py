"""Attributes of HEAD, where git itself is the judge: it reads the same files in a work tree."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly.git import CatfilePool, Git, GitObjects, GitVersion
from gitaly.git.diffs import HeadAttributes
from gitaly.git.diffs.head_attributes import joined
from gitaly.git.version import GitBinary
from tests.git.support import Bare, bare, run_git

FILES = {
    ".gitattributes": "[attr]mine answer=yes -text\n"
    "# comment\n!ignored answer=no\n*.txt answer=root\n"
    '"quo\\"ted name" answer=quoted\n/only/here answer=slash\n*.m mine\n*.pdf diff=pdf\r\n',
    "a/.gitattributes": "*.txt answer=a\n/top answer=top\nin/side answer=inside\n"
    "[attr]not allowed\n*.x -answer\n**/deep.c answer=stars\nfolder/ answer=never\n",
    "a/b/.gitattributes": "c.txt !answer\nd.txt answer=b\n** marked\n\\!odd answer=odd\n",
    "we[i]rd *\tname\\/.gitattributes": "*.txt answer=weird\n[ab].c answer=set\n",
    "we[i]rd *\tname\\/ü/.gitattributes": '"sp ace" answer=space\n',
}
PATHS = [
    *("x.txt", 'quo"ted name', "only/here", "a/only/here", "y.m", "a/y.m", "!ignored", "z.pdf"),
    *("a/x.txt", "a/top", "a/b/top", "a/in/side", "in/side", "a/z.x", "a/b/z.x", "z.x"),
    *("a/deep.c", "a/q/r/deep.c", "a/folder", "a/b/c.txt", "a/b/d.txt", "a/b/e/d.txt", "a/b/!odd"),
    *("we[i]rd *\tname\\/x.txt", "weird name/x.txt", "we[i]rd *\tname\\/q/a.c"),
    *("we[i]rd *\tname\\/ü/sp ace", "we[i]rd *\tname\\/sp ace"),
]
ATTRIBUTES = ["answer", "text", "marked", "mine", "diff", "allowed"]


@pytest.fixture
async def pool(git: Git) -> AsyncIterator[CatfilePool]:
    async with CatfilePool(git) as pool:
        yield pool


@pytest.fixture
def attributes(git: Git, pool: CatfilePool) -> HeadAttributes:
    return HeadAttributes(old(git), GitObjects(git, pool))


def old(git: Git) -> Git:
    """The same, which calls itself 2.39."""
    git.binary = GitBinary(git.binary.path, GitVersion.parse("git version 2.39.5"))
    return git


def write_files(directory: Path) -> Path:
    work = directory / "work"
    for name, text in FILES.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return work


def committed(directory: Path, *flags: str) -> Bare:
    """A bare repository whose HEAD has the files."""
    work = write_files(directory)
    run_git("init", "--quiet", *flags, str(work))
    run_git("-C", str(work), "add", "--all")
    run_git("-C", str(work), "commit", "--quiet", "-m", "one")
    repository = bare(directory, *flags)
    run_git("--git-dir", repository.path, "fetch", "--quiet", str(work), "HEAD:refs/heads/main")
    return repository


def answers(*flags: str) -> str:
    names = "".join(f"{path}\0" for path in PATHS)
    return run_git(*flags, "check-attr", "--stdin", "-z", *ATTRIBUTES, data=names)


async def text_of(attributes: HeadAttributes, repository: Bare) -> bytes | None:
    """What git would read."""
    async with attributes.options(repository) as options:
        file = options["stdin"]
        if not isinstance(file, int):
            return None
        return os.pread(file, 1 << 20, 0)


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
async def test_the_joined_file_says_what_the_files_say(
    tmp_path: Path, attributes: HeadAttributes, object_format: str
) -> None:
    repository = committed(tmp_path, f"--object-format={object_format}")
    joined_file = tmp_path / "joined"
    joined_file.write_bytes(await text_of(attributes, repository) or b"")
    expected = answers("-C", str(tmp_path / "work"))
    assert "answer\0odd" in expected
    assert (
        answers("--git-dir", repository.path, "-c", f"core.attributesFile={joined_file}")
        == expected
    )


async def test_a_repository_without_attributes_costs_nothing(
    tmp_path: Path, attributes: HeadAttributes
) -> None:
    repository = bare(tmp_path)
    assert await text_of(attributes, repository) is None  # unborn
    repository.git("update-ref", "HEAD", repository.commit())
    assert await text_of(attributes, repository) is None


async def test_a_new_head_has_new_attributes(tmp_path: Path, attributes: HeadAttributes) -> None:
    repository = committed(tmp_path)
    assert b"answer=weird" in (await text_of(attributes, repository) or b"")
    repository.git("update-ref", "HEAD", repository.commit())
    assert await text_of(attributes, repository) is None


async def test_a_git_that_knows_attr_tree_is_left_alone(
    tmp_path: Path, git: Git, pool: CatfilePool
) -> None:
    repository = committed(tmp_path)
    git.binary = GitBinary(git.binary.path, GitVersion.parse("git version 2.43.0"))
    newer = HeadAttributes(git, GitObjects(git, pool))
    assert await text_of(newer, repository) is None


async def test_no_descriptor_is_left_open(tmp_path: Path, attributes: HeadAttributes) -> None:
    repository = committed(tmp_path)
    await text_of(attributes, repository)
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        await text_of(attributes, repository)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_more_than_four_mebibytes_of_attributes_do_not_count() -> None:
    assert joined([(b"", b"*.a x\n" * (1 << 20))]) == b""


@pytest.mark.parametrize(
    "text", [b"", b"# only\n", b"pattern\n", b'"unfinished -text\n', b"\0\xff\n"]
)
def test_lines_that_say_nothing_are_dropped_in_directories(text: bytes) -> None:
    assert joined([(b"d/", text)]) in (b"", b'"d/**/\\"unfinished" -text\n')
