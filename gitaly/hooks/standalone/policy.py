"""What a standalone node forbids. No I/O: what only git can tell comes in as an answer.

Every rule whose patterns match counts; nothing that one rule forbids is allowed by another. In a
pattern `*` stands for any characters, `/` among them, `?` for one, `[ab]` for one of some.
"""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gitaly.hooks.push import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Without patterns it is about all repositories, or all references."""

    repositories: Sequence[str] = ()  # patterns for "<storage>/<relative path>"
    refs: Sequence[str] = ()  # patterns for full names
    users: Sequence[str] = ()  # the only ones who may change these references; empty: everybody
    read_only: bool = False
    deny_deletion: bool = False
    deny_non_fast_forward: bool = False
    max_push_bytes: int = 0  # 0: no bound
    _repository_pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _ref_pattern: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = _one_of(self.repositories)
        object.__setattr__(self, "_repository_pattern", re.compile(text))
        refs = _one_of(self.refs).encode("utf-8", "surrogateescape")
        object.__setattr__(self, "_ref_pattern", re.compile(refs))

    def is_about(self, repository: str) -> bool:
        """`repository`: "<storage>/<relative path>"."""
        return self._repository_pattern.match(repository) is not None

    def covers(self, reference: bytes) -> bool:
        """Whether the rule is about a reference."""
        return self._ref_pattern.match(reference) is not None

    @property
    def is_about_changes(self) -> bool:
        """Whether single changes have to be looked at."""
        return bool(self.users) or self.deny_deletion or self.deny_non_fast_forward


def _one_of(patterns: Sequence[str]) -> str:
    return "|".join(map(fnmatch.translate, patterns or ["*"]))


class Policy:
    """The rules of a node."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules

    def __len__(self) -> int:
        return len(self._rules)

    def is_asked(self, repository: str) -> bool:
        """Whether any rule wants to see the changes of a push."""
        return any(r.read_only or r.is_about_changes for r in self._about(repository))

    def max_push_bytes(self, repository: str) -> int:
        """The lowest bound; 0: there is none."""
        return min(
            (r.max_push_bytes for r in self._about(repository) if r.max_push_bytes), default=0
        )

    def needs_ancestry(self, repository: str, change: Change) -> bool:
        """Whether it matters that a change loses commits."""
        return not (change.is_creation or change.is_deletion) and any(
            rule.deny_non_fast_forward and rule.covers(change.reference)
            for rule in self._about(repository)
        )

    def objections(
        self, repository: str, user_id: str, changes: Sequence[tuple[Change, bool]]
    ) -> list[str]:
        """Sentences for the pusher; none: the push may go on.

        `changes`: each with whether it is known to lose commits.
        """
        rules = list(self._about(repository))
        if any(rule.read_only for rule in rules):
            return ["This repository is read-only."]
        found = (
            text
            for change, loses_commits in changes
            for rule in rules
            if rule.covers(change.reference)
            for text in _objections(rule, user_id, change, loses_commits)
        )
        return list(dict.fromkeys(found))

    def _about(self, repository: str) -> Iterator[Rule]:
        return (rule for rule in self._rules if rule.is_about(repository))


def _objections(rule: Rule, user_id: str, change: Change, loses_commits: bool) -> Iterator[str]:
    name = change.reference.decode("utf-8", "replace")
    if rule.users and user_id not in rule.users:
        yield f"{name} is protected: you may not change it."
    elif rule.deny_deletion and change.is_deletion:
        yield f"{name} must not be deleted."
    elif rule.deny_non_fast_forward and loses_commits:
        yield f"{name} must not lose commits: this is not a fast-forward."
