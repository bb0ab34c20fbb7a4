"""What is known of programming languages, from the data of GitHub's Linguist.

The data are Linguist's: languages.yml, popular.yml, heuristics.yml, vendor.yml, documentation.yml.
Building this package writes them into `_data` (hatch_build.py): those of September 2023 (706
languages), which the package PyGitLinguist 1.5.1 carries, or newer ones that were given to it. The
rules for using them are go-enry's, as far as Gitaly needs them.

go-enry 2.9.6 has the data of Linguist 9.5.0 (804 languages). Identifiers are the same. With those
of 2023, beside Gitaly's some answers differ:
- 98 newer languages are not counted, or as an older one that has the extension (Lean 4 as Lean,
  Cairo Zero as Cairo); Go Template, Hare, Luau, Mojo, Roc and TypeSpec are among them;
- CSS, Sway and Vyper have other colours, and Linker Script is data, which is not counted;
- known languages lack newer extensions and names: .containerfile, .heex, .tofu, .sbatch, mvnw.
Five that were renamed since, and three that were later, have the names that Gitaly keeps in
repositories.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

import re2

from gitaly.linguist.heuristics import Rule, rules_by_extension

_COUNTED_TYPES: Final = frozenset({"programming", "markup"})
_NO_COLOR: Final = "#cccccc"  # what go-enry says for a language without a colour

_RENAMED: Final = MappingProxyType(  # Linguist 9.5.0's names, by those of older and newer data
    {
        "Coq": "Rocq Prover",
        "FreeBasic": "FreeBASIC",
        "Genero": "Genero 4gl",
        "Genero Forms": "Genero per",
        "Mathematica": "Wolfram Language",
        "Robots Exclusion Rules": "robots.txt",
        "Salt": "SaltStack",
        "Vim script": "Vim Script",
    }
)


class Language(NamedTuple):
    """One language."""

    name: str
    type: str  # "programming", "markup", "data", "prose"
    id: int
    color: str  # "#3572A5"; empty: none


class Languages:
    """Looks languages up. Nothing in it ever changes."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._by_name: dict[str, Language] = {}
        self._by_alias: dict[str, str] = {}
        by_extension: defaultdict[str, list[str]] = defaultdict(list)
        by_filename: defaultdict[str, list[str]] = defaultdict(list)
        by_interpreter: defaultdict[str, list[str]] = defaultdict(list)
        self._popular = frozenset(data["popular"])
        self._own: set[tuple[str, str]] = set()
        for name, old, about in sorted(
            (_RENAMED.get(old, old), old, about) for old, about in data["languages"].items()
        ):
            self._by_name[name] = Language(
                name, about["type"], about["language_id"], about.get("color", "")
            )
            for alias in (name, old, *about.get("aliases", ())):
                self._by_alias[_alias_key(alias)] = name
            self._own.update((name, own.lower()) for own in about.get("extensions", ())[:1])
            for key, table in (
                ("extensions", by_extension),
                ("filenames", by_filename),
                ("interpreters", by_interpreter),
            ):
                for value in about.get(key, ()):
                    table[value.lower() if key == "extensions" else value].append(name)
        self.by_extension: Mapping[str, list[str]] = MappingProxyType(dict(by_extension))
        self.by_filename: Mapping[str, list[str]] = MappingProxyType(dict(by_filename))
        self.by_interpreter: Mapping[str, list[str]] = MappingProxyType(dict(by_interpreter))
        rules = rules_by_extension(data["heuristics"], _RENAMED)
        self.rules: Mapping[str, list[Rule]] = MappingProxyType(rules)
        self._vendored = _any_of(data["vendor"])
        self._documentation = _any_of(data["documentation"])

    @classmethod
    def load(cls) -> Self:
        """From the file in this package: 20 ms, blocking."""
        text = resources.files(__package__).joinpath("_data", "linguist.json").read_text("utf-8")
        return cls(json.loads(text))

    def get(self, name: str) -> Language | None:
        """A language by its name."""
        return self._by_name.get(name)

    def name_of(self, alias: str) -> str | None:
        """The name of a language by another one: "golang" is "Go"."""
        return self._by_alias.get(_alias_key(alias))

    def likeliest(self, names: Iterable[str], extensions: Collection[str]) -> str:
        """Of several, that whose own extension a file has: Linguist names it first. Of several or
        none such, a popular one; else the first in the alphabet.
        """

        def rank(name: str) -> tuple[bool, bool, str]:
            has_its_own = any((name, extension) in self._own for extension in extensions)
            return not has_its_own, name not in self._popular, name

        return min(names, key=rank)

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


def _any_of(patterns: Iterable[str]) -> Any:
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns).encode())
