"""The one command that the hook of upload-pack may ask for: `git pack-objects`, to its stdout.

Source: Gitaly, internal/gitaly/service/hook/pack_objects.go (form and texts).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gitaly.errors import InvalidRequest
from gitaly.git import go_quoted

# Flags of which the answer depends on nothing but the objects that the input names. With others
# (--all, --reflog, …) it may depend on references, and those change.
REPEATABLE: Final = frozenset(
    {
        "--stdout",
        "--revs",
        "--thin",
        "--shallow",
        "--progress",
        "--all-progress",
        "--all-progress-implied",
        "-q",
        "--quiet",
        "--delta-base-offset",
        "--include-tag",
        "--missing=allow-any",
    }
)
FILTER: Final = "--filter="


@dataclass(frozen=True, slots=True)
class PackCommand:
    """What is asked of pack-objects."""

    flags: Sequence[str]  # in their order, without --stdout
    has_shallow_file: bool = False  # git was told to ignore the repository's own `shallow`

    @property
    def is_revs(self) -> bool:
        """Whether the input names revisions, and not single objects."""
        return "--revs" in self.flags

    @property
    def is_repeatable(self) -> bool:
        """Whether the same input gets the same objects, whatever references say by then."""
        return self.is_revs and all(
            flag in REPEATABLE or (flag.startswith(FILTER) and _is_fixed(flag))
            for flag in self.flags
        )


def parse(arguments: Sequence[str]) -> PackCommand:
    """The command behind `git`. Raises InvalidRequest."""
    rest = list(arguments)
    has_shallow_file = rest[:2] == ["--shallow-file", ""]
    if has_shallow_file:
        del rest[:2]
    if rest[:1] != ["pack-objects"]:
        raise _invalid(arguments, "missing pack-objects")
    flags = rest[1:]
    if not all(flag.startswith("-") for flag in flags):
        raise _invalid(arguments, "non-flag argument")
    if "--stdout" not in flags:
        raise _invalid(arguments, "missing --stdout")
    return PackCommand([flag for flag in flags if flag != "--stdout"], has_shallow_file)


def _is_fixed(flag: str) -> bool:
    """A sparse filter may name its rules by a revision ("main:rules"), which can move."""
    return "sparse" not in flag


def _invalid(arguments: Sequence[str], what: str) -> InvalidRequest:
    shown = "[" + " ".join(go_quoted(argument)[1:-1] for argument in arguments) + "]"
    return InvalidRequest(f"invalid pack-objects command: {shown}: {what}")
