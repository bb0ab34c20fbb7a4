"""Linguist's rules that tell languages with the same extension apart by their content."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import re2


class Rule(NamedTuple):
    """What must be found in a file, and what must not."""

    languages: list[str]
    every: list[list[Any]]  # of each list one has to match
    never: list[Any]

    def applies(self, content: bytes) -> bool:
        """Whether the content is in one of its languages."""
        return all(any(p.search(content) for p in some) for some in self.every) and not any(
            p.search(content) for p in self.never
        )


def rules_by_extension(
    heuristics: Mapping[str, Any], renamed: Mapping[str, str]
) -> dict[str, list[Rule]]:
    """Of the file heuristics.yml, which describes its own format; extensions in lower case.

    `renamed` has the names of languages to use instead of those in the file.

    RE2 cannot run patterns that look ahead or back: as in go-enry they are left out, and with them
    the rules that have nothing else to look for.
    """
    named = {name: _as_list(given) for name, given in heuristics["named_patterns"].items()}
    found: dict[str, list[Rule]] = {}
    for group in heuristics["disambiguations"]:
        rules = []
        for rule in group["rules"]:
            parts = rule.get("and", [rule])
            wanted = [patterns for part in parts if (patterns := _patterns(part, named))]
            every = [_compiled(patterns) for patterns in wanted]
            unwanted = [x for part in parts for x in _as_list(part.get("negative_pattern"))]
            if all(every):
                languages = [renamed.get(name, name) for name in _as_list(rule["language"])]
                rules.append(Rule(languages, every, _compiled(unwanted)))
        found |= {extension.lower(): rules for extension in group["extensions"]}
    return found


def _patterns(part: Mapping[str, Any], named: Mapping[str, list[str]]) -> list[str]:
    """Of which one has to match."""
    if "named_pattern" in part:
        return named[part["named_pattern"]]
    return _as_list(part.get("pattern"))


def _as_list(value: Any) -> list[str]:
    """The file has one, many or none."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _compiled(patterns: Iterable[str]) -> list[Any]:
    options = re2.Options()
    options.log_errors = False
    found = []
    for pattern in patterns:
        try:
            found.append(re2.compile(f"(?m){pattern}".encode(), options))
        except re2.error:
            continue
    return found
