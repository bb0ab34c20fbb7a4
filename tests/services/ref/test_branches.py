"""FindBranch, FindLocalBranches, FindAllBranches, FindAllRemoteBranches."""

from contextlib import aclosing
from typing import Any

import pytest

from gitaly._pb.ref_pb2 import (
    FindAllBranchesRequest,
    FindAllRemoteBranchesRequest,
    FindBranchRequest,
    FindLocalBranchesRequest,
    FindLocalBranchesResponse,
)
from gitaly._pb.shared_pb2 import NONE, PGP, Branch, GitCommit, PaginationParameter
from gitaly.errors import Internal, InvalidRequest, NodeError
from gitaly.services.ref import RefServicer
from tests.git.support import Bare
from tests.services.readers import a_call, all_of, decoded
from tests.storage.support import message, put

BOTH_FORMATS = pytest.mark.parametrize("bare", ["sha1", "sha256"], indirect=True)
SIGNED = """tree {tree}
author Jane Doe <jane@example.com> 1600000000 -0000
committer Joe <joe@example.com> 1700000000 +0530
gpgsig -----BEGIN PGP SIGNATURE-----
\x20
 abc
 -----END PGP SIGNATURE-----


first line
second\r
line

body
"""


def written(bare: Bare, text: str) -> str:
    """A commit of the empty tree, whatever its text."""
    data = text.replace("{tree}", bare.git("mktree"))
    return bare.git("hash-object", "-t", "commit", "--literally", "-w", "--stdin", data=data)


def branch(bare: Bare, name: str, commit: str) -> str:
    bare.git("update-ref", f"refs/heads/{name}", commit)
    return commit


async def local(refs: RefServicer, *flags_off: str, **more: Any) -> list[Branch]:
    request = FindLocalBranchesRequest(repository=message(), **more)
    answers = await decoded(
        FindLocalBranchesResponse,
        refs.FindLocalBranches(request, a_call(*flags_off, value="false")),
    )
    return [one for answer in answers for one in answer.local_branches]


async def names(refs: RefServicer, **more: Any) -> list[str]:
    return [one.name.decode().removeprefix("refs/heads/") for one in await local(refs, **more)]


@BOTH_FORMATS
async def test_a_branch_is_found_by_its_short_name(refs: RefServicer, bare: Bare) -> None:
    commit = branch(bare, "a/b", bare.commit("one\n\ntwo"))
    for name, found in ((b"a/b", True), (b"none", False), (b"a b", False), (b"a/b/", False)):
        request = FindBranchRequest(repository=message(), name=name)
        answer = await refs.FindBranch(request, a_call())
        assert answer.HasField("branch") is found
    answer = await refs.FindBranch(FindBranchRequest(repository=message(), name=b"a/b"), a_call())
    assert answer.branch.name == b"a/b"
    assert answer.branch.target_commit.id == commit
    assert answer.branch.target_commit.body == b"one\n\ntwo\n"


@pytest.mark.parametrize("name", [b"a", b"a/*", b"?/b"])
async def test_what_only_matches_another_branch_is_ambiguous(
    refs: RefServicer, bare: Bare, name: bytes
) -> None:
    branch(bare, "a/b", bare.commit())
    with pytest.raises(InvalidRequest) as caught:
        await refs.FindBranch(FindBranchRequest(repository=message(), name=name), a_call())
    assert caught.value.message == (
        'target reference is ambiguous: reference is ambiguous: conflicts with "refs/heads/a/b"'
    )


async def test_a_branch_needs_a_name_and_its_commit(refs: RefServicer, bare: Bare) -> None:
    with pytest.raises(InvalidRequest, match="Branch name cannot be empty"):
        await refs.FindBranch(FindBranchRequest(repository=message()), a_call())
    put(f"{bare.path}/refs/heads/lost", "1" * 40 + "\n")
    with pytest.raises(Internal, match="object not found"):
        await refs.FindBranch(FindBranchRequest(repository=message(), name=b"lost"), a_call())
    with pytest.raises(Internal, match="null byte"):
        await refs.FindBranch(FindBranchRequest(repository=message(), name=b"a\0b"), a_call())


async def test_a_symbolic_branch_leads_to_the_commit_of_the_other(
    refs: RefServicer, bare: Bare
) -> None:
    commit = branch(bare, "main", bare.commit())
    bare.git("symbolic-ref", "refs/heads/link", "refs/heads/main")
    bare.git("symbolic-ref", "refs/heads/nowhere", "refs/heads/none")
    answer = await refs.FindBranch(FindBranchRequest(repository=message(), name=b"link"), a_call())
    assert answer.branch.target_commit.id == commit
    assert await names(refs) == ["link", "main"]


@BOTH_FORMATS
async def test_local_branches_tell_commits_as_for_each_ref_does(
    refs: RefServicer, bare: Bare
) -> None:
    commit = branch(bare, "main", written(bare, SIGNED))
    (found,) = await local(refs)
    expected = GitCommit(
        id=commit,
        tree_id=bare.git("mktree"),
        subject=b"first line second line",
        body=b"first line\nsecond\r\nline\n\nbody\n",
        body_size=30,
        signature_type=NONE,
    )
    expected.author.name = b"Jane Doe"
    expected.author.email = b"jane@example.com"
    expected.author.date.seconds = 1600000000
    expected.author.timezone = b"+0000"
    expected.committer.name = b"Joe"
    expected.committer.email = b"joe@example.com"
    expected.committer.date.seconds = 1700000000
    expected.committer.timezone = b"+0530"
    assert found == Branch(name=b"refs/heads/main", target_commit=expected)


async def test_without_the_iterator_they_are_told_as_elsewhere(
    refs: RefServicer, bare: Bare
) -> None:
    for number in range(21):
        branch(bare, f"b{number}", written(bare, SIGNED))
    (found, *_) = await local(refs, "ref-iterator")
    assert found.target_commit.signature_type == PGP
    assert found.target_commit.author.timezone == b"-0000"
    assert found.target_commit.subject == b""
    request = FindLocalBranchesRequest(repository=message())
    answers = await decoded(
        FindLocalBranchesResponse,
        refs.FindLocalBranches(request, a_call("ref-iterator", value="false")),
    )
    assert [len(answer.local_branches) for answer in answers] == [20, 1]


ODD = {
    "no committer": "tree {tree}\nauthor A <a@b> 1600000000 +0000\n\nx\n",
    "no dates": "tree {tree}\nauthor A <a@b>\ncommitter B <b@c>\n\nx\n",
    "old": "tree {tree}\nauthor A <a@b> 5 +0100\ncommitter B <b@c> 1600000000 +0000\n\nx\n",
    "far": "tree {tree}\nauthor A <a@b> 99999999999999 +0000\ncommitter B <> 1700000000 +1\n\nx\n",
    "brackets": "tree {tree}\nauthor A <<a@b>> 1600000000 +0\ncommitter < 1600000000 +0\n\nx\n",
    "message signature": "tree {tree}\nauthor A <a@b> 1600000000 +0000\n"
    "committer B <b@c> 1600000000 +0000\n\nsubject\n-----BEGIN PGP SIGNATURE-----\n\nx\n",
    "only a signature": "tree {tree}\nauthor A <a@b> 1600000000 +0000\n"
    "committer B <b@c> 1600000000 +0000\n\n-----BEGIN PGP SIGNATURE-----",
    "no message": "tree {tree}\nauthor A <a@b> 1600000000 +0000\n"
    "committer B <b@c> 1600000000 +0000\n\n",
    "no end": "tree {tree}\nauthor A <a@b> 1600000000 +0000\ncommitter B <b@c> 1600000000 +0000\n",
    "carriage returns": "tree {tree}\nauthor A <a@b> 1600000000 +0000\n"
    "committer B <b@c> 1600000000 +0000\n\na\r\n\r\nb\r\n",
    "empty names": "tree {tree}\nauthor  <> 1600000000 +0000\ncommitter  <> 1600000000 +0099\n\n\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
async def test_odd_commits_are_told_as_git_tells_them(
    refs: RefServicer, bare: Bare, text: str
) -> None:
    branch(bare, "main", written(bare, text))
    fields = "%(authorname)%00%(authoremail)%00%(committername)%00%(committeremail)%00"
    fields += "%(authordate:format:%z)%00%(committerdate:format:%z)%00%(subject)%00%(contents)%00"
    told = bare.git("for-each-ref", f"--format={fields}").split("\0")
    (found,) = await local(refs)
    commit = found.target_commit
    assert [
        commit.author.name.decode(),
        commit.author.email.decode(),
        commit.committer.name.decode(),
        commit.committer.email.decode(),
        commit.author.timezone.decode(),
        commit.committer.timezone.decode(),
        commit.subject.decode(),
        commit.body.decode(),
    ] == [
        told[0],
        told[1].strip("<>"),
        told[2],
        told[3].strip("<>"),
        *told[4:8],
    ]
    assert commit.HasField("author")
    assert commit.HasField("committer")


async def test_times_that_cannot_be_told_are_far_away(refs: RefServicer, bare: Bare) -> None:
    branch(bare, "main", written(bare, "tree {tree}\nauthor A <a@b>\ncommitter B\n\nx\n"))
    (found,) = await local(refs)
    assert found.target_commit.author.date.seconds == 9223371974719179007


@pytest.mark.parametrize("time", ["18446744073709551614 +0100", "5 -0100"])
async def test_a_time_that_no_calendar_has_ends_the_list_as_it_ends_gits(
    refs: RefServicer, bare: Bare, time: str
) -> None:
    text = "tree {tree}\nauthor A <a@b> {time}\ncommitter B <> 1 +0000\n\nx\n"
    branch(bare, "main", written(bare, text.replace("{time}", time)))
    with pytest.raises(Internal) as caught:
        await local(refs)
    assert caught.value.message == "finding refs: listing failed with exit code 128"


async def test_a_missing_commit_ends_the_list(refs: RefServicer, bare: Bare) -> None:
    put(f"{bare.path}/refs/heads/lost", "1" * 40 + "\n")
    with pytest.raises(Internal) as caught:
        await local(refs)
    assert caught.value.message == "finding refs: listing failed with exit code 128"
    with pytest.raises(Internal) as caught:
        await local(refs, "ref-iterator")
    assert caught.value.message == "finding refs: sending lines: object not found"


async def test_long_messages_are_cut_with_their_size(refs: RefServicer, bare: Bare) -> None:
    branch(bare, "main", bare.commit("x" * 20000))
    (found,) = await local(refs)
    assert len(found.target_commit.body) == found.target_commit.body_size == 10240
    (found,) = await local(refs, "ref-iterator")
    assert (len(found.target_commit.body), found.target_commit.body_size) == (10240, 20001)


async def test_a_shallow_repository_has_the_parents_that_git_tells(
    refs: RefServicer, bare: Bare
) -> None:
    commit = branch(bare, "main", bare.commit("two", bare.commit("one")))
    put(f"{bare.path}/shallow", f"{commit}\n")
    (found,) = await local(refs)
    assert list(found.target_commit.parent_ids) == []


async def test_people_are_not_renamed_in_local_branches_only(refs: RefServicer, bare: Bare) -> None:
    blob = bare.git("hash-object", "-w", "--stdin", data="Queen <q@example.com> <jane@example.com>")
    tree = bare.git("mktree", data=f"100644 blob {blob}\t.mailmap\n")
    branch(bare, "main", bare.git("commit-tree", "-m", "one", tree))
    (found,) = await local(refs)
    assert found.target_commit.author.name == b"Jane Doe"
    (found,) = await local(refs, "ref-iterator")
    assert found.target_commit.author.name == b"Queen"
    (found,) = await local(refs, "ref-iterator", "mailmap-options")
    assert found.target_commit.author.name == b"Jane Doe"


async def test_local_branches_are_sorted_as_wanted(refs: RefServicer, bare: Bare) -> None:
    for name, seconds in (("a", 3), ("b", 1), ("c", 2), ("d", 2)):
        env = {"GIT_COMMITTER_DATE": f"{1700000000 + seconds} +0000"}
        tree = bare.git("mktree")
        branch(bare, name, bare.git("commit-tree", "-m", name, tree, env=env))
    assert await names(refs) == ["a", "b", "c", "d"]
    up = await names(refs, sort_by=FindLocalBranchesRequest.UPDATED_ASC)
    assert up == ["b", "c", "d", "a"]
    down = await names(refs, sort_by=FindLocalBranchesRequest.UPDATED_DESC)
    assert down == ["a", "c", "d", "b"]
    with pytest.raises(Internal):
        await names(refs, sort_by=9)


async def test_patterns_leave_branches_out(refs: RefServicer, bare: Bare) -> None:
    commit = bare.commit()
    for name in ("a/b", "ab", "b", "main"):
        branch(bare, name, commit)
    assert await names(refs, exclude_patterns=[b"refs/heads/a"]) == ["ab", "b", "main"]
    assert await names(refs, exclude_patterns=[b"refs/heads/*b"]) == ["a/b", "main"]
    for pattern, text in (
        (b"", "empty exclude pattern"),
        (b"refs/heads/\0", r'exclude pattern contains null byte: "refs/heads/\x00"'),
        (b"main", 'exclude pattern must start with "refs/heads/": "main"'),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await names(refs, exclude_patterns=[pattern])
        assert caught.value.message == text


@pytest.mark.parametrize("flag", ["ref-iterator", "none"])
async def test_local_branches_come_in_pages(refs: RefServicer, bare: Bare, flag: str) -> None:
    commit = bare.commit()
    for name in "abcde":
        branch(bare, name, commit)

    async def page(limit: int, token: str = "") -> str:
        given = PaginationParameter(limit=limit, page_token=token)
        return "".join(
            one.name.decode()[-1] for one in await local(refs, flag, pagination_params=given)
        )

    assert await page(2) == "ab"
    assert await page(2, "refs/heads/b") == "cd"
    assert await page(-1, "refs/heads/b") == "cde"
    assert await page(2, "refs/heads/e") == ""
    assert await page(0) == ""
    for limit, token in ((2, "refs/heads/x"), (2, "b"), (0, "refs/heads/a")):
        with pytest.raises(InvalidRequest) as caught:
            await page(limit, token)
        assert caught.value.message == (
            "invalid page token: sending lines: could not find page token"
        )


async def all_branches(refs: RefServicer, **more: Any) -> list[str]:
    request = FindAllBranchesRequest(repository=message(), **more)
    answers = await all_of(refs.FindAllBranches(request, a_call()))
    return [one.name.decode() for answer in answers for one in answer.branches]


async def test_all_branches_are_local_and_remote_ones(refs: RefServicer, bare: Bare) -> None:
    one = bare.commit("one")
    two = bare.commit("two", one)
    branch(bare, "main", one)
    branch(bare, "old", one)
    branch(bare, "new", two)
    bare.git("update-ref", "refs/remotes/origin/main", one)
    bare.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    remote = ["refs/remotes/origin/HEAD", "refs/remotes/origin/main"]
    heads = ["refs/heads/main", "refs/heads/new", "refs/heads/old"]
    assert await all_branches(refs) == [*heads, *remote]
    assert await all_branches(refs, merged_branches=[b"refs/heads/old"]) == [*heads, *remote]
    merged = ["refs/heads/main", "refs/heads/old"]
    assert await all_branches(refs, merged_only=True) == [*merged, *remote]
    wanted = [b"refs/heads/old", b"refs/heads/new"]
    assert await all_branches(refs, merged_only=True, merged_branches=wanted) == merged[1:]


async def test_nothing_is_merged_into_no_branch(refs: RefServicer, bare: Bare) -> None:
    assert await all_branches(refs) == []
    with pytest.raises(Internal) as caught:
        await all_branches(refs, merged_only=True)
    assert caught.value.message.startswith("finding refs: listing failed with exit code 12")
    bare.git("update-ref", "--no-deref", "HEAD", bare.commit())
    with pytest.raises(Internal) as caught:
        await all_branches(refs, merged_only=True)
    assert caught.value.message == "default branch name: exit status 128"


async def test_options_are_no_patterns(refs: RefServicer, bare: Bare) -> None:
    branch(bare, "main", bare.commit())
    with pytest.raises(Internal) as caught:
        await all_branches(refs, merged_only=True, merged_branches=[b"--format=x"])
    assert "cannot start with dash '-'" in caught.value.message


async def test_remote_branches_are_those_of_one_remote(refs: RefServicer, bare: Bare) -> None:
    commit = bare.commit()
    for name in ("origin/a", "origin/b", "origin2/c"):
        bare.git("update-ref", f"refs/remotes/{name}", commit)

    async def remote(name: str) -> list[str]:
        request = FindAllRemoteBranchesRequest(repository=message(), remote_name=name)
        answers = await all_of(refs.FindAllRemoteBranches(request, a_call()))
        return [one.name.decode() for answer in answers for one in answer.branches]

    assert await remote("origin") == ["refs/remotes/origin/a", "refs/remotes/origin/b"]
    assert await remote("ori") == []
    with pytest.raises(InvalidRequest, match="empty RemoteName"):
        await remote("")


async def test_no_repository_no_branches(refs: RefServicer) -> None:
    with pytest.raises(NodeError, match="repository not found"):
        await local(refs)


async def test_who_leaves_early_leaves_nothing_behind(refs: RefServicer, bare: Bare) -> None:
    commit = bare.commit()
    lines = "".join(f"create refs/heads/b{n:04} {commit}\n" for n in range(3000))
    bare.git("update-ref", "--stdin", data=lines)
    request = FindAllBranchesRequest(repository=message())
    async with aclosing(refs.FindAllBranches(request, a_call())) as answers:  # type: ignore[type-var]
        first = await anext(answers)
    assert len(first.branches) == 20
