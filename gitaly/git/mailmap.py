"""Mailmaps: the names and addresses by which people want to be known.

Source: gitmailmap(5); git, mailmap.c and ident.c (how lines are read and what counts as equal).
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

_PEOPLE: Final = (b"author", b"committer", b"tagger")  # headers that hold them
_SPACE: Final = b" \t\n\r"  # what git calls so


@dataclass(slots=True)
class _Person:
    """What becomes of an address; None: it stays as it is."""

    name: bytes | None = None
    email: bytes | None = None
    by_name: dict[bytes, "_Person"] = field(default_factory=dict)  # for this address with a name


class Mailmap:
    """One `.mailmap` file."""

    def __init__(self, text: bytes = b"") -> None:
        self.size = len(text)  # what it costs to keep
        self.digest = hashlib.sha256(text).hexdigest()  # equal for those that do the same
        self._people: dict[bytes, _Person] = {}
        for line in text.split(b"\n"):
            self._add(line)

    def applied(self, value: bytes) -> bytes:
        """An `author`, `committer` or `tagger` line (without the key) with the proper names."""
        if not self._people:
            return value
        name, less, rest = value.partition(b"<")
        email, greater, rest = rest.partition(b">")
        if not (less and greater):
            return value
        person = self._people.get(email.lower())
        if person is None:
            return value
        name = name.rstrip(_SPACE)
        person = person.by_name.get(name.lower(), person)
        if person.name is None and person.email is None:
            return value
        name = name if person.name is None else person.name
        email = email if person.email is None else person.email
        return b"%b <%b>%b" % (name, email, rest)

    def applied_to_object(self, data: bytes) -> bytes:
        """A whole commit or tag with the proper names in its headers, as cat-file shows it."""
        if not self._people:
            return data
        head, separator, message = data.partition(b"\n\n")
        lines = head.split(b"\n")
        for number, line in enumerate(lines):
            key, space, value = line.partition(b" ")
            if key in _PEOPLE and space:
                lines[number] = key + space + self.applied(value)
        return b"\n".join(lines) + separator + message

    def _add(self, line: bytes) -> None:
        if line.startswith(b"#"):
            return
        first, rest = _name_and_email(line, may_be_empty=False)
        if first is None:
            return
        second = _name_and_email(rest, may_be_empty=True)[0] if rest else None
        new_name, email = first
        new_email, old_name = None, None
        if second is not None:
            new_email = email
            old_name, email = second
        person = self._people.setdefault(email.lower(), _Person())
        if old_name is not None:
            person.by_name[old_name.lower()] = _Person(new_name, new_email)
            return
        person.name = person.name if new_name is None else new_name
        person.email = person.email if new_email is None else new_email


def _name_and_email(
    text: bytes, *, may_be_empty: bool
) -> tuple[tuple[bytes | None, bytes] | None, bytes]:
    """The first `Name <email>` of a line, and what follows it."""
    name, less, rest = text.partition(b"<")
    email, greater, rest = rest.partition(b">")
    if not (less and greater) or not (email or may_be_empty):
        return None, b""
    return (name.strip(_SPACE) or None, email), rest


NO_MAILMAP: Final = Mailmap()
