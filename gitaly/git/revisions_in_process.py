"""Following revisions with libgit2's handle of a repository, exactly as git follows them."""

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pygit2
from pygit2.enums import ReferenceType

from gitaly.git.default_config import EMPTY_TREE
from gitaly.git.handles import Undecided, lookup_reference
from gitaly.git.reference_names import is_valid_reference_name
from gitaly.git.revision_syntax import (
    Revision,
    Step,
    is_whole_object_id,
    may_be_abbreviation,
    parse_revision,
)
from gitaly.git.trees import find_entry

TYPES: Final = ("", "commit", "tree", "blob", "tag")  # by libgit2's number
# What libgit2 reads holds everybody else up: 1 ms for so much. Git reads what is larger.
LARGEST_BYTES: Final = 512 * 1024
_RULES: Final = (
    "refs/{}",
    "refs/tags/{}",
    "refs/heads/{}",
    "refs/remotes/{}",
    "refs/remotes/{}/HEAD",
)
_TREE_LINE_BYTES: Final = len("tree ") + 40 + 1  # a commit begins with it
_PARENT_LINE_BYTES: Final = len("parent ") + 40 + 1
_WELL_FORMED: Final[Mapping[str, re.Pattern[bytes]]] = MappingProxyType(
    {
        "commit": re.compile(rb"tree [0-9a-f]{40}\n(?:parent [0-9a-f]{40}\n)*author "),
        "tag": re.compile(rb"object [0-9a-f]{40}\ntype (?:commit|tree|blob|tag)\ntag "),
    }
)
_KEYS: Final[Mapping[str, str]] = MappingProxyType({"commit": "tree ", "tag": "object "})
# References of other worktrees have names that libgit2 does not know.
_WORKTREES: Final = ("worktrees/", "main-worktree/")


def resolve(handle: pygit2.Repository, revision: bytes) -> str | None:
    """The object id that a revision leads to; whether the object is there, is not asked.

    None: it leads nowhere. Raises Undecided where git has to be asked.
    """
    if is_whole_object_id(revision, "sha1"):
        return revision.decode().lower()
    parsed = parse_revision(revision)
    if parsed is None:
        raise Undecided
    try:
        return _followed(handle, parsed)
    except (UnicodeDecodeError, pygit2.GitError, OSError) as error:
        raise Undecided from error


def header(handle: pygit2.Repository, object_id: str) -> tuple[str, int] | None:
    """Type and size of an object; None: it is not there. Raises Undecided."""
    try:
        number, size = handle.odb.read_header(object_id)
    except KeyError:
        return None
    except (pygit2.GitError, ValueError, OSError) as error:
        raise Undecided from error
    return TYPES[number], size


def content(handle: pygit2.Repository, object_id: str) -> tuple[str, bytes] | None:
    """Type and content of an object; None: it is not there. Raises Undecided, also if large."""
    try:
        number, data = handle.odb.read(object_id)
    except KeyError:
        if object_id == EMPTY_TREE["sha1"]:  # is there for git, wherever it isn't
            return "tree", b""
        return None
    except (pygit2.GitError, ValueError, OSError) as error:
        raise Undecided from error
    return TYPES[number], data


def small_content(handle: pygit2.Repository, object_id: str) -> tuple[str, bytes] | None:
    """`content` of what is small enough. Raises Undecided."""
    known = header(handle, object_id)
    if known is None:
        return None
    if known[1] > LARGEST_BYTES:
        raise Undecided
    return content(handle, object_id)


def _followed(handle: pygit2.Repository, revision: Revision) -> str | None:
    object_id = _base(handle, revision.base)
    for step in revision.steps:
        if object_id is None:
            return None
        object_id = _step(handle, object_id, step)
    if object_id is None or revision.path is None:
        return object_id
    tree = _peeled(handle, object_id, "tree")
    return None if tree is None else _inside(handle, tree, revision.path)


def _base(handle: pygit2.Repository, base: bytes) -> str | None:
    if is_whole_object_id(base, "sha1"):
        return base.decode().lower()
    if not is_valid_reference_name(b"refs/" + base):
        return None
    name = base.decode()
    if name.startswith(_WORKTREES):
        raise Undecided
    if name.startswith("refs/") or name.replace("_", "").isupper():
        target = _reference(handle, name)
        if target is not None:
            return target
    for rule in _RULES:
        target = _reference(handle, rule.format(name))
        if target is not None:
            return target
    return _abbreviated(handle, name) if may_be_abbreviation(base) else None


def _reference(handle: pygit2.Repository, name: str) -> str | None:
    try:
        reference = lookup_reference(handle, name)
        if reference.type != ReferenceType.DIRECT:
            reference = reference.resolve()
    except (KeyError, pygit2.InvalidSpecError):
        return None
    return str(reference.target)


def _abbreviated(handle: pygit2.Repository, digits: str) -> str | None:
    try:
        return str(handle[digits].id)
    except KeyError:
        return None
    except ValueError as error:  # several: which one is meant depends on what is wanted
        raise Undecided from error


def _step(handle: pygit2.Repository, object_id: str, step: Step) -> str | None:
    if step.kind == "peel":
        return _peeled(handle, object_id, step.to)
    if os.path.exists(f"{handle.path}shallow"):  # cuts off parents
        raise Undecided
    commit = _peeled(handle, object_id, "commit")
    if step.kind == "^":
        if commit is None or step.number == 0:
            return commit
        return _parent(handle, commit, step.number)
    for _ in range(step.number):
        if commit is None:
            return None
        commit = _parent(handle, commit, 1)
    return commit


def _parent(handle: pygit2.Repository, commit: str, number: int) -> str | None:
    found = small_content(handle, commit)
    if found is None:
        return None
    start = _TREE_LINE_BYTES
    for _ in range(number - 1):
        if not found[1].startswith(b"parent ", start):
            return None
        start += _PARENT_LINE_BYTES
    line = found[1][start : start + _PARENT_LINE_BYTES]
    return line[7:-1].decode() if line.startswith(b"parent ") else None


def _peeled(handle: pygit2.Repository, object_id: str, wanted: str) -> str | None:
    """As `^{wanted}`: through tags, and from a commit to its tree."""
    while True:
        known = header(handle, object_id)
        if known is None:
            return None
        kind = known[0]
        if kind in _WELL_FORMED:
            found = small_content(handle, object_id)
            if found is None or _WELL_FORMED[kind].match(found[1]) is None:
                raise Undecided  # git reads some that are not, but not all
        if kind == wanted or wanted == "object" or (wanted == "" and kind != "tag"):
            return object_id
        if kind != "tag" and (kind != "commit" or wanted != "tree"):
            return None
        assert found is not None
        object_id = found[1][len(_KEYS[kind]) :][:40].decode()


def _inside(handle: pygit2.Repository, tree: str, path: bytes) -> str | None:
    """The entry below a tree; "" is the tree itself, "dir/" the directory, "file/" nothing."""
    names = path.split(b"/")
    while names:
        name, *names = names
        if not name:
            return tree if not names else None
        found = small_content(handle, tree)
        if found is None:
            return None
        entry = find_entry(found[1], name)
        if entry is None:
            return None
        if not names:
            return entry.object_id
        if entry.type != "tree":
            return None
        tree = entry.object_id
    return tree
