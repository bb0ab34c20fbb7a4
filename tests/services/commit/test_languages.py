import asyncio
import json
import zlib
from pathlib import Path

import pytest

from gitaly._pb.commit_pb2 import CommitLanguagesRequest, CommitLanguagesResponse
from gitaly.errors import Internal, InvalidRequest
from gitaly.git import Git, Objects
from gitaly.services.commit import CommitServicer
from gitaly.services.commit.language_counting import LanguageCounter
from gitaly.storage import Blocking
from tests.git.support import Bare
from tests.services.commit.support import CALL, History
from tests.storage.support import message

Language = CommitLanguagesResponse.Language


async def told(commits: CommitServicer, revision: str = "") -> list[Language]:
    request = CommitLanguagesRequest(repository=message(), revision=revision.encode())
    return list((await commits.CommitLanguages(request, CALL)).languages)


async def sizes(commits: CommitServicer, revision: str = "") -> dict[str, int]:
    return {language.name: language.bytes for language in await told(commits, revision)}


def kept(repository: Bare) -> Path:
    return Path(repository.path) / "gitaly-language.stats"


async def test_languages_are_told_with_their_share(
    commits: CommitServicer, history: History
) -> None:
    history.commit(
        files={
            "a.py": "x" * 300,
            "dir/b.py": "y" * 300,
            "c.go": "z" * 200,
            "d.json": "{}",
            "vendor/e.rb": "1",
            "docs/f.rb": "1",
            "empty.c": "",
            "link": "-> a.py",
            "sub": "submodule",
        }
    )
    for _ in range(2):  # the second time from what is kept
        assert await told(commits) == [
            Language(name="Python", share=75, color="#3572A5", bytes=600, language_id=303),
            Language(name="Go", share=25, color="#00ADD8", bytes=200, language_id=132),
        ]


async def test_attributes_decide_before_paths_and_content(
    commits: CommitServicer, history: History
) -> None:
    lines = [
        "*.json linguist-detectable",
        "b.py linguist-vendored",
        "c.py linguist-documentation",
        "d.py linguist-generated",
        "e.py linguist-language=golang",
        "f.py -linguist-detectable",
        "g.py linguist-vendored=true",
        "vendor/h.py -linguist-vendored",
    ]
    names = ["a.json", "b.py", "c.py", "d.py", "e.py", "f.py", "g.py", "vendor/h.py"]
    history.commit(files=dict.fromkeys(names, "x") | {".gitattributes": "\n".join(lines) + "\n"})
    assert await sizes(commits) == {"JSON": 1, "Go": 1, "Python": 2}


async def test_what_has_changed_is_counted_again(
    commits: CommitServicer, history: History, subcommands: list[str]
) -> None:
    history.commit(files={"a.py": "1", "b.py": "22", "c.go": "1"})
    assert await sizes(commits) == {"Python": 3, "Go": 1}
    history.commit(files={"a.py": "4444", "d.rb": "1", "c.go": "1"})
    subcommands.clear()
    assert await sizes(commits) == {"Python": 4, "Go": 1, "Ruby": 1}
    assert "ls-tree" not in subcommands or "diff-tree" in subcommands
    history.commit(
        files={"a.py": "4444", "c.go": "1", ".gitattributes": "*.go linguist-vendored\n"}
    )
    assert await sizes(commits) == {"Python": 4}


async def test_what_is_kept_is_what_gitaly_keeps(
    commits: CommitServicer, history: History, bare: Bare
) -> None:
    commit = history.commit(files={"a.py": "1"})
    await sizes(commits)
    assert json.loads(zlib.decompress(kept(bare).read_bytes())) == {
        "version": "v3:gitaly",
        "commit_id": commit,
        "totals": {"Python": 1},
        "by_file": {"a.py": {"Python": 1}},
    }


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense",
        zlib.compress(b"{}"),
        zlib.compress(b"[]"),
        zlib.compress(b'{"version":"v2","commit_id":"x","by_file":{"a":{"Go":1}}}'),
        zlib.compress(
            b'{"version":"v3:gitaly","commit_id":"1111111111111111111111111111111111111111",'
            b'"by_file":{"a":{"Go":1}}}'
        ),
    ],
)
async def test_what_cannot_be_used_is_counted_afresh(
    commits: CommitServicer, history: History, bare: Bare, content: bytes
) -> None:
    history.commit(files={"a.py": "1"})
    kept(bare).write_bytes(content)
    assert await sizes(commits) == {"Python": 1}
    assert [path.name for path in kept(bare).parent.glob("gitaly-language.stats*")] == [
        "gitaly-language.stats"
    ]


async def test_a_language_that_only_gitaly_knew_is_counted_as_we_know_it(
    commits: CommitServicer, history: History, bare: Bare
) -> None:
    commit = history.commit(files={"a.py": "1", "b.luau": "22"})
    by_file = {"a.py": {"Python": 1}, "b.luau": {"Luau": 2}}
    statistics = {"version": "v3:gitaly", "commit_id": commit, "by_file": by_file}
    kept(bare).write_bytes(zlib.compress(json.dumps(statistics).encode()))
    assert await sizes(commits) == {"Python": 1}
    history.commit(files={"a.py": "333", "b.luau": "22"})
    assert await sizes(commits) == {"Python": 3}


async def test_a_branch_is_meant_before_a_tag(commits: CommitServicer, history: History) -> None:
    first = history.commit(files={"a.py": "1"}, branch="both")
    history.commit(files={"a.go": "1"}, branch="both")
    history.repository.git("update-ref", "refs/tags/both", first)
    assert await sizes(commits, "both") == {"Go": 1}
    history.repository.git("update-ref", "refs/tags/only", first)
    assert await sizes(commits, "only") == {"Python": 1}


async def test_nothing_countable_is_nothing(commits: CommitServicer, history: History) -> None:
    history.commit(files={"a.txt": "1"})
    assert await told(commits) == []


async def test_a_language_that_nobody_knows_is_an_error(
    commits: CommitServicer, history: History
) -> None:
    attributes = "a linguist-language=Nonesuch linguist-detectable\n"
    history.commit(files={"a": "1", ".gitattributes": attributes})
    with pytest.raises(Internal) as caught:
        await told(commits)
    assert caught.value.message == (
        "linguist language_id fetch: linguist language_id not found: Nonesuch"
    )


async def test_unknown_revisions_are_an_error_in_gits_words(
    commits: CommitServicer, bare: Bare
) -> None:
    for revision in ("", "none"):
        with pytest.raises(Internal) as caught:
            await told(commits, revision)
        assert caught.value.message == (
            "looking up revision: exit status 128: fatal: ambiguous argument "
            f"'{revision}': unknown revision or path not in the working tree."
        )
    with pytest.raises(Internal) as caught:
        await told(commits, "1" * 40)
    assert caught.value.message == (
        "language stats: linguist object iterator: ls-tree pipeline command: exit status 128, "
        'stderr: "fatal: not a tree object\\n"'
    )
    with pytest.raises(InvalidRequest, match="revision can't start with '-'"):
        await told(commits, "--output=x")


async def test_first_calls_at_the_same_time_read_the_data_once(git: Git, objects: Objects) -> None:
    counter = LanguageCounter(git, objects, Blocking())
    async with asyncio.TaskGroup() as calls:
        known = [calls.create_task(counter.languages()) for _ in range(3)]
    assert len({id(task.result()) for task in known}) == 1
