"""Page tokens: JSON in base64, to the byte as Go's encoder writes it.

The next page may be asked of another node, which may be Gitaly's own.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any


def encoded_token(fields: Mapping[str, bytes]) -> str:
    """A token with these fields, in their order; what is no UTF-8 is lost, as in Go."""
    text = json.dumps(
        {name: as_go_decodes(value) for name, value in fields.items()},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return base64.b64encode(text.encode()).decode()


def decoded_token(token: str) -> dict[str, Any] | None:
    """Its fields; None: it is no such token."""
    try:
        value = json.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        return None
    return value if isinstance(value, dict) else None


def as_go_decodes(value: bytes) -> str:
    """Text in which each byte that is no UTF-8 is replaced."""
    return "".join(
        "\ufffd" if "\udc80" <= character <= "\udcff" else character
        for character in value.decode(errors="surrogateescape")
    )
