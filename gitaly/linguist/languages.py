"""What is known of programming languages, from the data of GitHub's Linguist.

`languages.json` is made by `tools/linguist_data.py`. The rules for using it are go-enry's, as far
as Gitaly needs them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

import re2

_COUNTED_TYPES: Final = frozenset({"programming", "markup"})
_NO_COLOR: Final = "#cccccc"  # what go-enry says for a language without a colour


class Language(NamedTuple):
    """One language."""

    name: str
    type: str  # "programming", "markup", "data", "prose"
    id: int
    color: str  # "#3572A5"; empty: none


class Rule(NamedTuple):
    """Tells languages with the same extension apart by their content."""

    languages: list[str]
    every: list[list[Any]]  # of each list one has to match
    never: list[Any]

    def applies(self, content: bytes) -> bool:
        """Whether the content is in one of its languages."""
        return all(any(p.search(content) for p in some) for some in self.every) and not any(
            p.search(content) for p in self.never
        )


class Languages:
    """Looks languages up. Nothing in it ever changes."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._by_name: dict[str, Language] = {}
        self._by_alias: dict[str, str] = {}
        by_extension: defaultdict[str, list[str]] = defaultdict(list)
        by_filename: defaultdict[str, list[str]] = defaultdict(list)
        by_interpreter: defaultdict[str, list[str]] = defaultdict(list)
        for name, about in data["languages"].items():
            self._by_name[name] = Language(name, about["type"], about["id"], about["color"])
            for alias in (name, *about["aliases"]):
                self._by_alias[_alias_key(alias)] = name
            for key, table in (
                ("extensions", by_extension),
                ("filenames", by_filename),
                ("interpreters", by_interpreter),
            ):
                for value in about[key]:
                    table[value.lower() if key == "extensions" else value].append(name)
        self.by_extension: Mapping[str, list[str]] = MappingProxyType(dict(by_extension))
        self.by_filename: Mapping[str, list[str]] = MappingProxyType(dict(by_filename))
        self.by_interpreter: Mapping[str, list[str]] = MappingProxyType(dict(by_interpreter))
        rules: dict[str, list[Rule]] = {}
        for group in data["heuristics"]:
            built = [
                Rule(x["languages"], [_compiled(y) for y in x["all"]], _compiled(x["none"]))
                for x in group["rules"]
            ]
            rules |= {extension.lower(): built for extension in group["extensions"]}
        self.rules: Mapping[str, list[Rule]] = MappingProxyType(rules)
        self._vendored = _any_of(data["vendored"])
        self._documentation = _any_of(data["documentation"])

    @classmethod
    def load(cls) -> Self:
        """From the file in this package: 200 ms, blocking."""
        text = resources.files(__package__).joinpath("languages.json").read_text("utf-8")
        return cls(json.loads(text))

    def get(self, name: str) -> Language | None:
        """A language by its name."""
        return self._by_name.get(name)

    def name_of(self, alias: str) -> str | None:
        """The name of a language by another one: "golang" is "Go"."""
        return self._by_alias.get(_alias_key(alias))

    def is_counted(self, name: str) -> bool:
        """Whether it is a language in which programs or pages are written."""
        language = self._by_name.get(name)
        return language is not None and language.type in _COUNTED_TYPES

    def color(self, name: str) -> str:
        """As it is shown; one made from the name for a language that has none."""
        language = self._by_name.get(name)
        if language is not None and language.color and language.color != _NO_COLOR:
            return language.color
        return f"#{sha256(name.encode()).hexdigest()[:6]}"

    def is_vendored(self, path: bytes) -> bool:
        """Whether a path looks like that of somebody else's code."""
        return self._vendored.search(path) is not None

    def is_documentation(self, path: bytes) -> bool:
        """Whether a path looks like that of documentation."""
        return self._documentation.search(path) is not None


def _alias_key(alias: str) -> str:
    return alias.partition(",")[0].replace(" ", "_").lower()


def _compiled(patterns: Iterable[str]) -> list[Any]:
    options = re2.Options()
    options.log_errors = False
    return [re2.compile(f"(?m){pattern}".encode(), options) for pattern in patterns]


def _any_of(patterns: Iterable[str]) -> Any:
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns).encode())
