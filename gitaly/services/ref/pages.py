"""Pages of reference lists: where one begins and ends, and the tokens between them.

Tokens are read and written by other nodes, too. Source: Gitaly, internal/helper/lines/send.go and
internal/gitaly/service/ref/list_refs.go.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from gitaly._pb.ref_pb2 import ListRefsRequest
from gitaly._pb.shared_pb2 import PaginationParameter
from gitaly.errors import InvalidRequest
from gitaly.git import ListedReference
from gitaly.services.tokens import decoded_token, encoded_token

REFERENCES_IN_A_MESSAGE: Final = 20  # with their commits
# Bare names and ids. Gitaly sends 20, too; but a message costs 0.1 ms whatever is in it, and
# clients read on until the stream ends.
NAMES_IN_A_MESSAGE: Final = 200
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


def page_of(given: PaginationParameter | None) -> Page:
    """Without parameters: all. A limit of 0 is none at all, below 0 no limit."""
    if given is None:
        return Page()
    limit = given.limit if given.limit >= 0 else NO_LIMIT
    return Page(limit, given.page_token.encode() or None)


def list_refs_page(request: ListRefsRequest) -> Page:
    """`page_of` ListRefs, whose tokens are JSON in base64, or the bare name as of old."""
    given = request.pagination_params if request.HasField("pagination_params") else None
    page = page_of(given)
    return replace(page, after=_name_in(page.after.decode())) if page.after else page


def cursor_after(name: bytes) -> str:
    """The token of the page that begins after the reference, as Go's encoder writes it."""
    return encoded_token({"ref_name": name})


async def cut(
    batches: AsyncIterable[list[ListedReference]], page: Page
) -> AsyncGenerator[list[ListedReference], None]:
    """What belongs to the page. Raises UnknownToken, at the end of the list."""
    if page.limit < 1:
        if page.after is not None:
            raise UnknownToken
        return
    is_inside = page.after is None
    left = page.limit
    async for batch in batches:
        if not is_inside:
            place = next((n for n, one in enumerate(batch) if one.name == page.after), None)
            if place is None:
                continue
            is_inside = True
            batch = batch[place + 1 :]  # noqa: PLW2901 - the rest of it
        yield batch[:left]
        left -= min(left, len(batch))
        if not left:
            return
    if not is_inside:
        raise UnknownToken


async def paged(
    batches: AsyncIterable[list[ListedReference]], page: Page
) -> AsyncIterator[list[tuple[list[ListedReference], bool]]]:
    """Messages of at most 200 references, some at once; with each, whether it is the last one of a
    page that ends before the list does.

    Raises UnknownToken.
    """
    limit = page.limit + 1 if page.limit else 0  # one more: whether the list goes on
    waiting: list[ListedReference] = []  # the last message, which must know how it goes on
    left = page.limit
    async with aclosing(cut(batches, replace(page, limit=limit))) as inside:
        async for batch in inside:
            waiting += batch
            left -= len(batch)
            whole = max(0, (len(waiting) - 2) // NAMES_IN_A_MESSAGE) * NAMES_IN_A_MESSAGE
            if whole:
                yield [(some, False) for some in _messages(waiting[:whole])]
                del waiting[:whole]
    has_more = left < 0
    if has_more:
        waiting.pop()
    *others, last = [*_messages(waiting)] or [[]]
    if last:
        yield [*((some, False) for some in others), (last, has_more)]


def _messages(references: list[ListedReference]) -> Iterator[list[ListedReference]]:
    for start in range(0, len(references), NAMES_IN_A_MESSAGE):
        yield references[start : start + NAMES_IN_A_MESSAGE]


def _name_in(token: str) -> bytes:
    """A token of ours or Gitaly's, or the bare name that older versions used."""
    name = (decoded_token(token) or {}).get("ref_name")
    return name.encode() if isinstance(name, str) and name else token.encode()
