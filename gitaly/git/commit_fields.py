"""Commits as the fields of `git for-each-ref` tell them, which differ from what the objects hold.

Source: git-for-each-ref(1); git, ref-filter.c.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths
from gitaly.git.reference_lines import Flags, reference_lines

_FORMAT: Final = "%00".join(
    [
        "%(refname)",
        "%(objectname)",
        "%(tree)",
        "%(parent)",
        "%(authorname)",
        "%(authoremail)",
        "%(authordate:unix)",
        "%(authordate:format:%z)",
        "%(committername)",
        "%(committeremail)",
        "%(committerdate:unix)",
        "%(committerdate:format:%z)",
        "%(subject)",
        "%(contents)",
        "%(contents:signature)",
        "",
    ]
)
_END: Final = b"\0\n"  # of a record: a message may hold line feeds
_PERSON: Final = rb"([^<>\n\0]*) <([^<>\n\0]*)> ([1-9][0-9]{5,11}) ([+-][0-9]{4})\n"
_PLAIN: Final = re.compile(
    rb"tree ([0-9a-f]+)\n((?:parent [0-9a-f]+\n)*)author %b" % _PERSON
    + rb"committer %b" % _PERSON
    + rb"(?:[^\n\0]+\n)*\n([^\0]*)"
)
_SIGNATURE: Final = re.compile(rb"^-----BEGIN ", re.MULTILINE)
_CUTTING: Final = ("shallow", "info/grafts")  # files that change what parents a commit has


class Person(NamedTuple):
    """Who and when. Nothing is missing: what can't be read is empty."""

    name: bytes
    email: bytes  # without the angle brackets
    seconds: bytes  # since 1970
    timezone: bytes  # always "+0200" or the like


class CommitFields(NamedTuple):
    """What for-each-ref tells of a commit."""

    object_id: str
    tree_id: str
    parent_ids: list[str]
    author: Person
    committer: Person
    subject: bytes  # the first paragraph, in one line
    contents: bytes  # the message without empty lines before it
    signature: bytes  # in the message; those of headers do not count


def plain_fields(object_id: str, data: bytes) -> CommitFields | None:
    """From a commit object; None for one that is so odd that git has to be asked. 3 µs."""
    found = _PLAIN.fullmatch(data)
    if found is None:
        return None
    tree, parents, *people, message = found.groups()
    author, committer = (
        Person(name, email, seconds, _timezone(timezone))
        for name, email, seconds, timezone in (people[:4], people[4:])
    )
    contents = message.lstrip(b"\n")
    if b"-----BEGIN " in contents and _SIGNATURE.search(contents):
        return None
    return CommitFields(
        object_id,
        tree.decode(),
        parents.decode().split()[1::2],
        author,
        committer,
        _subject(contents),
        contents,
        b"",
    )


def has_own_parents(repository: RepositoryPaths) -> bool:
    """Whether commits here may have other parents than their objects say."""
    return any(os.path.exists(f"{repository.path}/{name}") for name in _CUTTING)


async def commit_fields_by_git(
    git: Git, repository: RepositoryPaths, names: Sequence[bytes]
) -> Mapping[bytes, CommitFields]:
    """Of the commits that references lead to, by name. Those that have gone are not among them.

    Raises GitFailed, for instance if a commit is missing.
    """
    flags: Flags = [("--format", _FORMAT)]
    found = {}
    async for records in reference_lines(git, repository, flags, names, separator=_END):
        for record in records:
            name, fields = _parsed(record)
            found[name] = fields
    return found


def _parsed(record: bytes) -> tuple[bytes, CommitFields]:
    name, object_id, tree, parents, *people, subject, contents, signature = record.split(b"\0")
    author, committer = (
        Person(who, email.strip(b"<>"), seconds, timezone)
        for who, email, seconds, timezone in (people[:4], people[4:])
    )
    return name, CommitFields(
        object_id.decode(),
        tree.decode(),
        parents.decode().split(),
        author,
        committer,
        subject,
        contents,
        signature,
    )


def _subject(contents: bytes) -> bytes:
    end = contents.find(b"\n\n")
    if end < 0:
        end = contents.find(b"\r\n\r\n")
    if end >= 0:
        contents = contents[:end]
    return contents.rstrip(b"\r\n").replace(b"\r\n", b" ").replace(b"\n", b" ")


def _timezone(text: bytes) -> bytes:
    return b"+0000" if text == b"-0000" else text
