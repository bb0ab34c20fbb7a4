"""What git's subcommands can take, and what may be put on their command line.

Every argument that comes from a request passes here. Source: Gitaly,
internal/git/gitcmd/command_description.go and command_options.go.
"""

import re
from collections.abc import Sequence
from typing import Final

from gitaly.errors import Internal, InvalidRequest
from gitaly.git.arguments import fit
from gitaly.git.quoting import go_quoted

Argument = str | bytes

# fmt: off
# They may move references, so how hooks run must be said each time.
UPDATING_REFS: Final = frozenset([
    "am", "checkout", "clone", "commit", "fetch", "filter-repo", "receive-pack", "remote",
    "symbolic-ref", "tag", "update-ref", "worktree",
])
WITHOUT_END_OF_OPTIONS: Final = frozenset([
    "archive", "blame", "check-attr", "check-ref-format", "checkout", "filter-repo", "grep",
    "index-pack", "patch-id", "range-diff", "remote", "rev-list", "rev-parse", "unpack-objects",
    "upload-archive",
])
SUBCOMMANDS: Final = UPDATING_REFS | WITHOUT_END_OF_OPTIONS | frozenset([
    "apply", "bundle", "cat-file", "commit-graph", "commit-tree", "config", "count-objects",
    "diff", "diff-pairs", "diff-tree", "fast-export", "for-each-ref", "format-patch", "fsck",
    "gc", "hash-object", "init", "last-modified", "log", "ls-remote", "ls-tree", "merge-base",
    "merge-file", "merge-tree", "mktag", "mktree", "multi-pack-index", "pack-objects",
    "pack-refs", "prune", "prune-packed", "push", "refs", "repack", "show", "show-index",
    "show-ref", "upload-pack", "version",
])
# Attributes of HEAD count for these; for all others, none do.
ATTRIBUTES_OF_HEAD: Final = frozenset([
    "archive", "cat-file", "check-attr", "diff", "format-patch", "log", "merge", "merge-tree",
    "rev-parse", "update-ref", "worktree",
])
# fmt: on

TO_STDOUT: Final = "-"  # among the flags: where others take the name of a file to write

_FLAG: Final = re.compile(rb"--?[0-9A-Za-z]")
_ACTION: Final = re.compile(r"[0-9A-Za-z]+[-0-9A-Za-z]*")
_CONFIG_KEY: Final = re.compile(r"[0-9A-Za-z]+(\.[*-/_:@a-zA-Z0-9]+)+")
_PSEUDO_REVISION: Final = re.compile(
    rb"--(all|not|alternate-refs|(branches|tags)(=.+)?|glob=.+)", re.DOTALL
)


class InvalidArgument(Internal):
    """Something that git could take for another thing than it is meant to be.

    Internal unless a caller says otherwise: requests are checked before git is thought of.
    """


class HooksUndecided(Internal):
    """The node would run a reference update without having said how hooks run."""


def checked_config(key: str, value: str) -> tuple[str, str]:
    """A `-c` pair. Raises InvalidArgument."""
    if _CONFIG_KEY.fullmatch(key) is None:
        raise InvalidArgument(
            f"config key {go_quoted(key)} failed regexp validation: invalid argument"
        )
    return key, value


def checked_options(given: Sequence[str]) -> list[tuple[str, str]]:
    """`<key>=<value>` entries of a request as pairs. Raises InvalidRequest without a "="."""
    pairs = []
    for entry in given:
        key, equals, value = entry.partition("=")
        if not equals:
            raise InvalidRequest(f"cannot convert invalid config key: {go_quoted(entry)}")
        pairs.append((key, value))
    return pairs


def command_line(
    subcommand: str,
    action: str | None,
    flags: Sequence[Argument | tuple[Argument, Argument]],
    args: Sequence[Argument],
    after_separator: Sequence[Argument] | None,
) -> list[Argument]:
    """The part of argv from the subcommand on. Raises InvalidArgument, InvalidRequest."""
    if subcommand not in SUBCOMMANDS:
        raise InvalidArgument(f"invalid sub command name {go_quoted(subcommand)}: invalid argument")
    line: list[Argument] = [subcommand]
    if action is not None:
        if _ACTION.fullmatch(action) is None:
            raise InvalidArgument(f"invalid action {go_quoted(action)}: invalid argument")
        line.append(action)
    for flag in flags:
        name, *value = flag if isinstance(flag, tuple) else (flag,)
        _check_flag(name)
        line += [name, *value]
    if subcommand not in WITHOUT_END_OF_OPTIONS:
        line.append("--end-of-options")
    for argument in args:
        check_positional(subcommand, argument)
    line += args
    if after_separator is not None:
        line += ["--", *after_separator]
    _check_nul(line)
    if not fit([_raw(argument) for argument in line]):
        raise InvalidRequest("arguments are too long for a command line")
    return line


def _raw(argument: Argument) -> bytes:
    return argument if isinstance(argument, bytes) else argument.encode(errors="surrogateescape")


def _check_flag(name: Argument) -> None:
    if name != TO_STDOUT and _FLAG.match(_raw(name)) is None:
        raise InvalidArgument(f"flag {go_quoted(name)} failed regex validation: invalid argument")


def check_positional(subcommand: str, argument: Argument) -> None:
    """Raises InvalidArgument, and InvalidRequest for a revision, if it begins like an option."""
    raw = _raw(argument)
    if not raw.startswith(b"-"):
        return
    if subcommand != "rev-list":
        raise InvalidArgument(
            f"positional arg {go_quoted(raw)} cannot start with dash '-': invalid argument"
        )
    if _PSEUDO_REVISION.fullmatch(raw) is None:
        raise InvalidRequest("validating positional argument: revision can't start with '-'")


def _check_nul(line: Sequence[Argument]) -> None:
    for argument in line:
        raw = _raw(argument)
        if b"\0" in raw:
            raise InvalidArgument(f"detected null byte in command argument {go_quoted(raw)}")
