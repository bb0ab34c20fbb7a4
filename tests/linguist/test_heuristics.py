from typing import Any

import pytest

from gitaly.linguist import Languages
from gitaly.linguist.heuristics import rules_by_extension


def told(content: bytes, *rules: dict[str, Any]) -> list[str]:
    """The languages of the first rule that applies; empty: none does."""
    heuristics = {
        "disambiguations": [{"extensions": [".X", ".y"], "rules": rules}],
        "named_patterns": {"word": "^word", "words": ["^one", "^two"]},
    }
    found = rules_by_extension(heuristics, {"Old": "New"})
    assert found.keys() == {".x", ".y"}
    return next((rule.languages for rule in found[".x"] if rule.applies(content)), [])


@pytest.mark.parametrize(
    ("rule", "matching", "other"),
    [
        ({"pattern": "^a$"}, b"-\na\n-", b"-a-"),
        ({"pattern": ["^a", "^b"]}, b"-\nb", b"c"),
        ({"named_pattern": "word"}, b"word", b"a word"),
        ({"named_pattern": "words"}, b"two", b"three"),
        ({"and": [{"pattern": "a"}, {"named_pattern": "words"}]}, b"one a", b"one"),
        ({"pattern": "a", "negative_pattern": "b"}, b"a", b"ab"),
        ({"and": [{"pattern": "a"}, {"negative_pattern": ["b", "c"]}]}, b"a", b"ac"),
    ],
)
def test_a_rule_applies_to_what_it_describes(
    rule: dict[str, Any], matching: bytes, other: bytes
) -> None:
    assert told(matching, {"language": "This", **rule}) == ["This"]
    assert told(other, {"language": "This", **rule}) == []


def test_the_first_rule_decides_and_one_without_patterns_always_applies() -> None:
    rules = ({"language": ["A", "B"], "pattern": "a"}, {"language": "C"}, {"language": "D"})
    assert told(b"a", *rules) == ["A", "B"]
    assert told(b"x", *rules) == ["C"]


def test_patterns_that_look_ahead_are_left_out_and_rules_of_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert told(b"ab", {"language": "A", "pattern": ["a(?=b)", "b$"]}) == ["A"]
    assert told(b"ab", {"language": "A", "pattern": "a(?=b)"}) == []
    assert told(b"ab", {"language": "A", "and": [{"pattern": "a(?=b)"}, {"pattern": "b"}]}) == []
    assert told(b"ab", {"language": "A", "pattern": "a", "negative_pattern": "a(?=b)"}) == ["A"]
    assert capfd.readouterr() == ("", "")


def test_a_language_that_was_renamed_has_its_new_name() -> None:
    assert told(b"a", {"language": "Old", "pattern": "a"}) == ["New"]


def test_every_language_that_a_rule_names_is_known() -> None:
    languages = Languages.load()
    named = {
        name for rules in languages.rules.values() for rule in rules for name in rule.languages
    }
    assert len(named) > 100
    assert [name for name in named if languages.get(name) is None] == []
