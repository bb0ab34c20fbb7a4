"""In which language is this file? The first way of finding out that leaves one language decides.

Source: go-enry 2.9, common.go (the order of the ways). Its last one, a classifier trained with
samples, is not here: of several languages that nothing tells apart, the likeliest is taken
(`Languages.likeliest`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

import re2

from gitaly.linguist.languages import Languages

_LOOKED_AT_BYTES: Final = 8000  # for NUL, which makes a file binary
_MODELINE_LINES: Final = 5  # at the beginning and at the end
_EMACS: Final = re2.compile(
    rb"(?i)-\*-\s*(?:(?:[^;\s]*;)*?\s*mode\s*:\s*)?([^:;\s]+)\s*(?:;[^\n]*?)?-\*-"
)
_VIM: Final = re2.compile(
    rb"(?i)(?:(?:^|\s)(?:vi|vim\d*|ex):)\s*(?:set?\s)?[^\n]*?\b(?:filetype|ft|syntax)\s*=\s*(\w+)"
)
_SHEBANG: Final = re.compile(rb"#!\s*(\S+)(?:[ \t]+([^\r\n]*))?")
_VERSION: Final = re.compile(r"(?:\.\d+)+\Z")
# A shell script whose first lines hand it to another interpreter: exec tclsh "$0" "$@".
_HANDED_ON: Final = re.compile(rb"exec (\w+)[^\n]+?\$0[^\n]+?\$@")
_MANUAL_PAGE: Final = re.compile(rb"\.(?:[1-9](?:[a-z_][a-z_0-9]*)?|0p|n|man|mdoc)(?:\.in)?\Z")


class Detector:
    """Detects languages. For any thread."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages
        self._ways: tuple[Callable[[bytes, bytes, list[str]], list[str]], ...] = (
            self._by_modeline,
            self._by_filename,
            self._by_shebang,
            self._by_extension,
            self._by_xml,
            self._by_manual_page,
            self._by_content,
        )

    def language(self, path: bytes, content: bytes) -> str:
        """From a path and the beginning of the content; empty: none that is known."""
        if b"\0" in content[:_LOOKED_AT_BYTES]:
            return ""
        name = path.rpartition(b"/")[2]
        candidates: list[str] = []
        for way in self._ways:
            found = way(name, content, candidates)
            if len(found) == 1:
                return found[0]
            candidates = found or candidates
        return self._languages.likeliest(candidates, [*_extensions(name)]) if candidates else ""

    def _by_modeline(self, _: bytes, content: bytes, __: list[str]) -> list[str]:
        lines = content.split(b"\n")
        ends = b"\n".join([*lines[:_MODELINE_LINES], *lines[_MODELINE_LINES:][-_MODELINE_LINES:]])
        for pattern in (_EMACS, _VIM):
            found = pattern.search(ends)
            if found is not None:
                name = self._languages.name_of(found[1].decode(errors="replace"))
                return [name] if name is not None else []
        return []

    def _by_filename(self, name: bytes, _: bytes, __: list[str]) -> list[str]:
        return self._languages.by_filename.get(name.decode(errors="replace"), [])

    def _by_shebang(self, _: bytes, content: bytes, __: list[str]) -> list[str]:
        interpreter = _interpreter(content)
        by_interpreter = self._languages.by_interpreter
        return by_interpreter.get(interpreter) or by_interpreter.get(
            _VERSION.sub("", interpreter), []
        )

    def _by_extension(self, name: bytes, _: bytes, __: list[str]) -> list[str]:
        for extension in _extensions(name):
            found = self._languages.by_extension.get(extension)
            if found:
                return found
        return []

    def _by_xml(self, _: bytes, content: bytes, candidates: list[str]) -> list[str]:
        first = content.split(b"\n", 2)[:2]
        is_xml = not candidates and any(b"<?xml version=" in line for line in first)
        return ["XML"] if is_xml else []

    def _by_manual_page(self, name: bytes, _: bytes, __: list[str]) -> list[str]:
        return ["Roff Manpage", "Roff"] if _MANUAL_PAGE.search(name.lower()) else []

    def _by_content(self, name: bytes, content: bytes, _: list[str]) -> list[str]:
        extensions = list(_extensions(name))
        rules = self._languages.rules.get(extensions[-1], []) if extensions else []
        return next((rule.languages for rule in rules if rule.applies(content)), [])


def _extensions(name: bytes) -> Iterator[str]:
    """`.tar.gz`, then `.gz`."""
    text = name.decode(errors="replace").lower()
    place = text.find(".")
    while place >= 0:
        yield text[place:]
        place = text.find(".", place + 1)


def _interpreter(content: bytes) -> str:
    """The program in `#!/usr/bin/env -S python3 -u` and the like; empty: there is none."""
    found = _SHEBANG.match(content)
    if found is None:
        return ""
    program = found[1].rpartition(b"/")[2]
    if program == b"env":
        words = (found[2] or b"").split()
        program = next((w for w in words if not w.startswith(b"-") and b"=" not in w), b"")
        program = program.rpartition(b"/")[2]
    if program == b"sh":
        handed_on = _HANDED_ON.search(b"\n".join(content.split(b"\n", 5)[:5]))
        program = handed_on[1] if handed_on is not None else program
    return program.decode(errors="replace")
