r"""What GitLab tells people after a push, as text for a terminal.

Each message is "\n", its body, "\n\n". Source: Gitaly, internal/gitaly/hook/postreceive.go.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from gitaly.errors import Internal
from gitaly.hooks.gitlab.client import Message

WIDTH: Final = 72  # 80 columns without git's "remote: "
TEXT_WIDTH: Final = 68
_RULE: Final = b"=" * WIDTH


def printed(messages: Iterable[Message]) -> Iterator[bytes]:
    """The text in pieces. Raises Internal at a message of an unknown kind."""
    for message in messages:
        yield b"\n"
        if message.kind == "basic":
            yield message.text.encode()
        elif message.kind == "alert":
            yield b"\n\n".join((_RULE, _wrapped(message.text), _RULE))
        else:
            raise Internal(
                f"error writing messages to stream: invalid message type: {message.kind}"
            )
        yield b"\n\n"


def _wrapped(text: str) -> bytes:
    """Lines of words, each centered by its bytes."""
    lines, line = [], b""
    for word in text.split():
        added = word.encode()
        if len(line) + 1 + len(added) > TEXT_WIDTH:
            lines.append(_centered(line))
            line = b""
        line += added + b" "
    return b"\n".join((*lines, _centered(line)))


def _centered(line: bytes) -> bytes:
    stripped = line.strip()
    return b" " * max((WIDTH - len(stripped)) // 2, 0) + stripped
