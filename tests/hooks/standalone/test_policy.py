"""What rules forbid; nobody is asked anything."""

import pytest

from gitaly.hooks.push import Change
from gitaly.hooks.standalone import Policy, Rule

ZERO, ONE, TWO = "0" * 40, "1" * 40, "2" * 40
UPDATE = Change(ONE, TWO, b"refs/heads/main")
CREATION = Change(ZERO, TWO, b"refs/heads/main")
DELETION = Change(ONE, ZERO, b"refs/heads/main")


def objections(
    *rules: Rule, change: Change = UPDATE, loses: bool = False, user: str = "user-1"
) -> list[str]:
    return Policy(rules).objections("default/a.git", user, [(change, loses)])


def test_without_rules_everything_is_allowed() -> None:
    assert objections() == []
    assert not Policy().is_asked("default/a.git")
    assert Policy().max_push_bytes("default/a.git") == 0


def test_a_deletion_is_refused_where_a_rule_says_so() -> None:
    rule = Rule(deny_deletion=True)
    assert objections(rule, change=DELETION) == ["refs/heads/main must not be deleted."]
    assert objections(rule, change=UPDATE) == []
    assert objections(rule, change=CREATION) == []


def test_losing_commits_is_refused_where_a_rule_says_so() -> None:
    rule = Rule(deny_non_fast_forward=True)
    assert objections(rule, loses=True) == [
        "refs/heads/main must not lose commits: this is not a fast-forward."
    ]
    assert objections(rule, loses=False) == []
    assert objections(rule, change=DELETION) == []


@pytest.mark.parametrize(
    ("change", "needed"), [(UPDATE, True), (CREATION, False), (DELETION, False)]
)
def test_git_is_only_asked_about_updates(change: Change, needed: bool) -> None:
    policy = Policy([Rule(refs=["refs/heads/*"], deny_non_fast_forward=True)])
    assert policy.needs_ancestry("default/a.git", change) is needed
    tag = Change(ONE, TWO, b"refs/tags/v1")
    assert not policy.needs_ancestry("default/a.git", tag)


def test_only_named_users_change_protected_references() -> None:
    rule = Rule(refs=["refs/heads/main"], users=["user-1", "key-2"])
    text = "refs/heads/main is protected: you may not change it."
    assert [objections(rule, user=u) for u in ("user-1", "key-2", "user-10", "")] == [
        [],
        [],
        [text],
        [text],
    ]


def test_a_read_only_repository_says_only_that() -> None:
    rules = [Rule(read_only=True), Rule(deny_deletion=True)]
    assert objections(*rules, change=DELETION) == ["This repository is read-only."]


@pytest.mark.parametrize(
    ("pattern", "name", "covers"),
    [
        ("refs/heads/*", b"refs/heads/a/b", True),
        ("refs/heads/main", b"refs/heads/main2", False),
        ("refs/heads/ma?n", b"refs/heads/main", True),
        ("refs/heads/[mn]ain", b"refs/heads/nain", True),
        ("*", b"refs/heads/\xff\n", True),
        ("refs/heads/é", "refs/heads/é".encode(), True),
    ],
)
def test_patterns_are_those_of_a_shell_and_know_no_slash(
    pattern: str, name: bytes, covers: bool
) -> None:
    assert Rule(refs=[pattern]).covers(name) is covers


def test_a_rule_is_about_its_repositories_alone() -> None:
    rule = Rule(repositories=["default/team/*"], read_only=True, max_push_bytes=10)
    policy = Policy([rule, Rule(max_push_bytes=20)])
    assert policy.is_asked("default/team/a.git")
    assert not policy.is_asked("other/team/a.git")
    assert policy.max_push_bytes("default/team/a.git") == 10
    assert policy.max_push_bytes("default/b.git") == 20


def test_a_rule_that_only_bounds_pushes_asks_for_no_hook() -> None:
    assert not Policy([Rule(max_push_bytes=1)]).is_asked("default/a.git")


def test_each_sentence_is_said_once() -> None:
    twice = [Rule(deny_deletion=True), Rule(deny_deletion=True)]
    assert objections(*twice, change=DELETION) == ["refs/heads/main must not be deleted."]
