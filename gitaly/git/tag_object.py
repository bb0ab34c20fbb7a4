"""Tag objects. Source: Gitaly, internal/git/catfile/parser.go and tag.go."""

from dataclasses import dataclass
from typing import Final

_BEGIN: Final = b"-----BEGIN"


@dataclass(slots=True)
class Tag:
    """What the headers and the message of a tag say. Nothing is an error: see `Commit`."""

    object_id: bytes = b""  # what it points to
    object_type: bytes = b""
    name: bytes = b""
    tagger: bytes | None = None  # `parse_identity` reads it
    message: bytes = b""  # with a signature, if there is one

    @property
    def signature(self) -> bytes | None:
        """The signature at the end of the message, without the last line feed."""
        start = self.message.find(_BEGIN)
        return self.message[start:].removesuffix(b"\n") if start > 0 else None


def parse_tag(data: bytes) -> Tag:
    """Read a tag object."""
    tag = Tag()
    if data.startswith(b"\n"):
        head, tag.message = b"", data[1:]
    else:
        head, _, tag.message = data.partition(b"\n\n")
    for line in head.split(b"\n"):
        key, space, value = line.partition(b" ")
        if not space:
            continue
        if key == b"object":
            tag.object_id = value
        elif key == b"type":
            tag.object_type = value
        elif key == b"tag":
            tag.name = tag.name or value
        elif key == b"tagger":
            tag.tagger = value
    return tag


def signature_split(data: bytes) -> tuple[bytes, bytes | None]:
    """A whole tag object as what was signed, and the signature without its last line feed."""
    start = data.find(_BEGIN)
    return (data[:start], data[start:].removesuffix(b"\n")) if start > 0 else (data, None)
