import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gitaly._pb.commit_pb2 import FindCommitRequest
from gitaly._pb.shared_pb2 import NONE, PGP, SSH, X509, CommitAuthor, CommitTrailer, GitCommit
from gitaly.errors import InvalidRequest
from gitaly.services.commit import CommitServicer
from tests.services.commit.support import A_COMMITTER, CALL, History
from tests.storage.support import message


async def find(commits: CommitServicer, revision: str | bytes, **more: bool) -> GitCommit | None:
    raw = revision.encode() if isinstance(revision, str) else revision
    request = FindCommitRequest(repository=message(), revision=raw, **more)
    answer = await commits.FindCommit(request, CALL)
    return answer.commit if answer.HasField("commit") else None


def raw_commit(
    history: History, *headers: str, text: str = "x\n", committer: str = A_COMMITTER
) -> str:
    lines = [f"tree {history.tree({})}", f"author {committer}", f"committer {committer}", *headers]
    content = "\n".join(lines) + "\n\n" + text
    return history.raw("commit", content.encode(errors="surrogateescape"))


async def test_a_commit_is_told_with_all_that_is_in_it(
    commits: CommitServicer, history: History
) -> None:
    first = history.commit("one\n")
    second = history.commit("Subject\nsame paragraph\n\nBody\n", {"a": "1"})
    found = await find(commits, "main")
    assert found == GitCommit(
        id=second,
        parent_ids=[first],
        tree_id=history.repository.git("rev-parse", "main^{tree}"),
        subject=b"Subject",
        body=b"Subject\nsame paragraph\n\nBody\n",
        body_size=29,
        author=CommitAuthor(
            name=b"Jane Doe",
            email=b"jane@example.com",
            date=Timestamp(seconds=1_700_000_120),
            timezone=b"+0100",
        ),
        committer=CommitAuthor(
            name=b"Jane Doe",
            email=b"jane@example.com",
            date=Timestamp(seconds=1_700_000_120),
            timezone=b"+0100",
        ),
    )


async def test_tags_lead_to_their_commit_and_other_things_nowhere(
    commits: CommitServicer, history: History
) -> None:
    commit = history.commit(files={"a": "1"})
    history.repository.git("tag", "-a", "-m", "one", "one")
    history.repository.git("tag", "-a", "-m", "two", "two", "one")
    for revision in ("one", "two", "main", commit[:8], "refs/heads/main", "HEAD~0", "@"):
        found = await find(commits, revision)
        assert found is not None
        assert found.id == commit
    tree = history.repository.git("rev-parse", "main^{tree}")
    for revision in ("none", tree, "0" * 40, "main^", "main^{tree}", "^main", "main..main"):
        assert await find(commits, revision) is None


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        (b"", "empty revision"),
        (b"--upload-pack=touch", "revision can't start with '-'"),
        (b"-x", "revision can't start with '-'"),
        (b"a b", "revision can't contain whitespace"),
        (b"a\nb", "revision can't contain whitespace"),
        (b"a\0b", "revision can't contain NUL"),
        (b"main:a", "revision can't contain ':'"),
        (b"a\\b", "revision can't contain '\\'"),
    ],
)
async def test_hostile_revisions_are_refused_before_git_sees_them(
    commits: CommitServicer,
    history: History,
    subcommands: list[str],
    revision: bytes,
    text: str,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await find(commits, revision)
    assert caught.value.message == text
    assert subcommands == []


async def test_revisions_as_long_as_a_message_take_no_time(
    commits: CommitServicer, history: History
) -> None:
    history.commit()
    for revision in (b"x" * 3_000_000, b"main" + b"~0" * 1000):
        found = await find(commits, revision)
        assert (found is None) == revision.startswith(b"x")


async def test_long_messages_are_cut_and_their_size_is_told(
    commits: CommitServicer, history: History
) -> None:
    history.commit("x" * 20_000 + "\n")
    found = await find(commits, "main")
    assert found is not None
    assert (len(found.subject), len(found.body), found.body_size) == (20_000, 10_240, 20_001)


async def test_the_message_is_as_it_is(commits: CommitServicer, history: History) -> None:
    for text, subject in (("\n\nlate\n", b""), ("crlf\r\nbody\r\n", b"crlf"), ("", b"")):
        found = await find(commits, raw_commit(history, text=text))
        assert found is not None
        assert (found.subject, found.body, found.body_size) == (
            subject,
            text.encode(),
            len(text),
        )


async def test_encodings_are_told_and_not_touched(
    commits: CommitServicer, history: History
) -> None:
    commit = raw_commit(history, "encoding ISO-8859-1", text="J\udce9r\udcf4me\n")
    found = await find(commits, commit)
    assert found is not None
    assert (found.encoding, found.body) == ("ISO-8859-1", b"J\xe9r\xf4me\n")


@pytest.mark.parametrize(
    ("key", "line", "kind"),
    [
        ("gpgsig", "-----BEGIN PGP SIGNATURE-----", PGP),
        ("gpgsig-sha256", "-----BEGIN PGP MESSAGE-----", PGP),
        ("gpgsig", "-----BEGIN SIGNED MESSAGE-----", X509),
        ("gpgsig", "-----BEGIN SSH SIGNATURE-----", SSH),
        ("gpgsig", "-----BEGIN SOMETHING-----", NONE),
        ("gpgsig-other", "-----BEGIN PGP SIGNATURE-----", NONE),
    ],
)
async def test_the_kind_of_a_signature_is_told(
    commits: CommitServicer, history: History, key: str, line: str, kind: int
) -> None:
    found = await find(commits, raw_commit(history, f"{key} {line}", " abc", " -----END-----"))
    assert found is not None
    assert found.signature_type == kind


async def test_people_go_by_the_names_in_the_mailmap_of_head(
    commits: CommitServicer, history: History
) -> None:
    old = history.commit(author="Old <OLD@example.com>")
    history.commit(files={".mailmap": "New <new@example.com> <old@example.com>\n"})
    found = await find(commits, old)
    assert found is not None
    assert (found.author.name, found.author.email) == (b"New", b"new@example.com")
    history.commit(files={".mailmap": "Newer <old@example.com>\n"})
    found = await find(commits, old)
    assert found is not None
    assert (found.author.name, found.author.email) == (b"Newer", b"OLD@example.com")


async def test_times_that_cannot_be_are_the_end_of_time(
    commits: CommitServicer, history: History
) -> None:
    for when, seconds in (
        ("9007199254740992 +0000", 9007199254740992),
        ("9007199254740993 +0000", 9223371974719179007),
        ("-1 +0000", 9223371974719179007),
        ("soon +0000", 9223371974719179007),
    ):
        found = await find(commits, raw_commit(history, committer=f"J <j@example.com> {when}"))
        assert found is not None
        assert found.committer.date.seconds == seconds


async def test_a_broken_commit_is_told_as_far_as_it_goes(
    commits: CommitServicer, history: History
) -> None:
    tree = history.tree({})
    found = await find(commits, history.raw("commit", f"tree {tree}\nauthor nobody\n\nx".encode()))
    assert found is not None
    assert (found.tree_id, found.author.name, found.body) == (tree, b"nobody", b"x")
    assert not found.HasField("committer")
    assert not found.author.HasField("date")


async def test_what_git_cannot_read_as_a_commit_is_none(
    commits: CommitServicer, history: History
) -> None:
    for content in (b"", b"tree nonsense\n\nx"):
        assert await find(commits, history.raw("commit", content)) is None


async def test_trailers_are_told_if_asked_for(
    commits: CommitServicer, history: History, subcommands: list[str]
) -> None:
    history.commit(
        "s\n\nbody\n\nSigned-off-by: A\n <a@x>\nChange: 1\n" + f"Long: {'x' * 600}\nEnd: 2\n"
    )
    found = await find(commits, "main", trailers=True)
    assert found is not None
    assert list(found.trailers) == [
        CommitTrailer(key=b"Signed-off-by", value=b"A <a@x>"),
        CommitTrailer(key=b"Change", value=b"1"),
    ]
    assert "log" in subcommands
    found = await find(commits, "main")
    assert found is not None
    assert list(found.trailers) == []
