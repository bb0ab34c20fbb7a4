"""Where the keys and values of a TOML document stand; read only when an error must say so.

The parser that we use gives values without positions. This scanner walks a document that the
parser has accepted, so it needs to know where things end, not what they mean.
"""

import re
from enum import Enum
from typing import Final, NamedTuple

import tomli

from gitaly.config.decode import Path

BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SPACE: Final = re.compile(r"[ \t]*")
BARE_KEY: Final = re.compile(r"[^\s=.\]\"']+")
BARE_VALUE: Final = re.compile(r"[^,\]}#\r\n]+")
STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


class Form(Enum):
    """How a path came to be in the document."""

    VALUE = "key = value"
    TABLE = "[table], or the left part of a dotted key"
    ARRAY_TABLE = "[[array of tables]]"


class Spot(NamedTuple):
    """An offset into the text, in characters, and the form of what stands there."""

    offset: int
    form: Form


def positions(text: str) -> dict[Path, Spot]:
    """The first place of every path of the document: of its value, or of its name in a header."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.spots


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both count from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spots: dict[Path, Spot] = {}
        self._tables: dict[Path, int] = {}  # the last index of every array of tables

    def document(self) -> None:
        table: Path = ()
        while self._skip(BLANK) < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._statement(table)

    def _header(self) -> Path:
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        *parents, (name, offset) = self._key()
        path = self._walk((), parents)
        path = (*path, name)
        form = Form.ARRAY_TABLE if brackets == 2 else Form.TABLE
        self.spots.setdefault(path, Spot(offset, form))
        if brackets == 2:
            self._tables[path] = self._tables.get(path, -1) + 1
            path = (*path, self._tables[path])
            self.spots.setdefault(path, Spot(offset, form))
        self.at += brackets
        return path

    def _statement(self, table: Path) -> None:
        *parents, (name, _) = self._key()
        path = (*self._walk(table, parents), name)
        self.at += 1  # the equals sign
        self._skip(SPACE)
        self._value(path)

    def _walk(self, path: Path, names: list[tuple[str, int]]) -> Path:
        for name, offset in names:
            path = (*path, name)
            self.spots.setdefault(path, Spot(offset, Form.TABLE))
            if path in self._tables:
                path = (*path, self._tables[path])
        return path

    def _key(self) -> list[tuple[str, int]]:
        names = []
        while True:
            start = self._skip(SPACE)
            if self.text[start] in "\"'":
                self._skip(STRING)
                name = tomli.loads(f"name = {self.text[start : self.at]}")["name"]
            else:
                self._skip(BARE_KEY)
                name = self.text[start : self.at]
            names.append((name, start))
            if not self.text.startswith(".", self._skip(SPACE)):
                return names
            self.at += 1

    def _value(self, path: Path) -> None:
        self.spots.setdefault(path, Spot(self.at, Form.VALUE))
        match self.text[self.at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._skip(STRING)
            case _:
                self._skip(BARE_VALUE)

    def _array(self, path: Path) -> None:
        index = 0
        self.at += 1
        while self.text[self._skip(BLANK)] != "]":
            self._value((*path, index))
            index += 1
            self._comma()
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self.text[self._skip(BLANK)] != "}":
            self._statement(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        if self.text[self._skip(BLANK)] == ",":
            self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if found := pattern.match(self.text, self.at):
            self.at = found.end()
        return self.at
