"""What can be wrong with a configuration.

These texts are for operators and may name files; they never reach a client of the node.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gitaly.errors import NodeError


class ConfigError(NodeError):
    """The configuration cannot be used; the text says why."""


class TOMLError(ConfigError):
    """The file is not TOML, or a value is of the wrong type. Line and column count from 1."""

    def __init__(self, line: int, column: int, detail: str) -> None:
        super().__init__(f"load toml: toml: {detail}", line=line, column=column)
        self.line, self.column, self.detail = line, column, detail


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with the path of the key; the path is empty for the file itself."""

    key: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(self.key)}: {self.message}" if self.key else self.message

    def below(self, *keys: str) -> "Problem":
        """The same problem seen from the table around it."""
        return Problem((*keys, *self.key), self.message)


def found(message: str | None, *key: str) -> Iterator[Problem]:
    """The problem that a check has found, or nothing if it has not."""
    if message is not None:
        yield Problem(key, message)
