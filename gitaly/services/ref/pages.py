"""Pages of reference lists: where one begins and ends, and the tokens between them.

Tokens are read and written by other nodes, too. Source: Gitaly, internal/helper/lines/send.go and
internal/gitaly/service/ref/list_refs.go.
"""

import base64
import binascii
import json
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Final

from gitaly._pb.ref_pb2 import ListRefsRequest
from gitaly.errors import InvalidRequest
from gitaly.git import ListedReference

REFERENCES_IN_A_MESSAGE: Final = 20
NO_LIMIT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    limit: int = NO_LIMIT
    after: bytes | None = None  # the name of the last reference before it


class UnknownToken(InvalidRequest):
    """The list has no reference of that name, or nothing may follow it."""

    def __init__(self) -> None:
        super().__init__("invalid page token: sending lines: could not find page token")


def page_of(request: ListRefsRequest) -> Page:
    """Without parameters: all. A limit of 0 is none at all, below 0 no limit."""
    if not request.HasField("pagination_params"):
        return Page()
    given = request.pagination_params
    limit = given.limit if given.limit >= 0 else NO_LIMIT
    return Page(limit, _name_in(given.page_token) if given.page_token else None)


def cursor_after(name: bytes) -> str:
    """The token of the page that begins after the reference, as Go's encoder writes it."""
    text = json.dumps(
        {"ref_name": name.decode(errors="replace")}, ensure_ascii=False, separators=(",", ":")
    )
    for character, escape in (("<", r"\u003c"), (">", r"\u003e"), ("&", r"\u0026")):
        text = text.replace(character, escape)
    return base64.b64encode(text.encode()).decode()


async def paged(
    batches: AsyncIterable[list[ListedReference]], page: Page
) -> AsyncIterator[tuple[list[ListedReference], bool]]:
    """Messages of at most 20 references; with the last one, whether the list goes on after it.

    Raises UnknownToken.
    """
    if page.limit < 1:
        if page.after is not None:
            raise UnknownToken
        return
    is_inside = page.after is None
    waiting: list[ListedReference] = []  # the last message, which must know how it goes on
    left = page.limit
    async for batch in batches:
        for reference in batch:
            if not is_inside:
                is_inside = reference.name == page.after
                continue
            if left == 0:
                yield waiting, True
                return
            if len(waiting) == REFERENCES_IN_A_MESSAGE:
                yield waiting, False
                waiting = []
            waiting.append(reference)
            left -= 1
    if not is_inside:
        raise UnknownToken
    if waiting:
        yield waiting, False


def _name_in(token: str) -> bytes:
    """A token of ours or Gitaly's, or the bare name that older versions used."""
    try:
        value = json.loads(base64.b64decode(token, validate=True))
        name = value["ref_name"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        return token.encode()
    return name.encode() if isinstance(name, str) and name else token.encode()
