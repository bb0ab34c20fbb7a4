"""What GitLab tells people, as they see it."""

import pytest

from gitaly.errors import Internal
from gitaly.hooks.gitlab import Message
from gitaly.hooks.gitlab.messages import printed

RULE = "=" * 72


def shown(*messages: Message) -> str:
    return b"".join(printed(messages)).decode()


def alert(text: str) -> list[str]:
    """The lines between the rules."""
    before, after = f"\n{RULE}\n\n", f"\n\n{RULE}\n\n"
    found = shown(Message(text=text, kind="alert"))
    assert found.startswith(before)
    assert found.endswith(after)
    return found[len(before) : -len(after)].split("\n")


def test_a_basic_message_stands_as_it_is() -> None:
    messages = [Message(text="visit\n  http://x", kind="basic"), Message(text="b", kind="basic")]
    assert shown(*messages) == "\nvisit\n  http://x\n\n\nb\n\n"


def test_an_alert_is_wrapped_and_centered() -> None:
    words = "This is an alert with a text that is long enough to be wrapped over several lines"
    assert alert(words) == [
        "  This is an alert with a text that is long enough to be wrapped over",
        " " * 29 + "several lines",
    ]


def test_a_line_holds_68_bytes_with_a_space_behind_each_word() -> None:
    assert [line.strip() for line in alert(f"{'a' * 66} b")] == ["a" * 66, "b"]
    assert [line.strip() for line in alert(f"{'a' * 64} b")] == [f"{'a' * 64} b"]


def test_a_word_that_is_too_long_follows_an_empty_line() -> None:
    assert alert("x" * 80) == [" " * 36, "x" * 80]


def test_bytes_are_counted_not_characters() -> None:
    assert alert("é" * 10) == [" " * 26 + "é" * 10]


def test_white_space_of_any_kind_separates_words() -> None:
    assert alert(" a\n\tb  c ") == [" " * 33 + "a b c"]


def test_a_message_of_an_unknown_kind_ends_the_printing() -> None:
    pieces = printed([Message(text="a", kind="basic"), Message(text="b", kind="other")])
    assert [next(pieces) for _ in range(4)] == [b"\n", b"a", b"\n\n", b"\n"]
    with pytest.raises(Internal, match=r"^error writing messages to stream: invalid message type"):
        next(pieces)
