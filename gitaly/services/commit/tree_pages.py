"""Pages of GetTreeEntries. Source: Gitaly, internal/gitaly/service/commit/get_tree_entries.go."""

from collections.abc import AsyncGenerator, AsyncIterator

from gitaly._pb.commit_pb2 import GetTreeEntriesRequest
from gitaly.errors import Internal
from gitaly.git import TreeEntry
from gitaly.services.tokens import as_go_decodes, decoded_token, encoded_token


class TreePage:
    """A part of a list of entries, whose names are whole paths."""

    def __init__(self, request: GetTreeEntriesRequest) -> None:
        given = request.pagination_params
        self.limit = given.limit if request.HasField("pagination_params") else -1
        self.cursor = ""  # where the next page begins; known before the first entry
        fields = decoded_token(given.page_token)
        self._by_id = fields is None  # as tokens of old were
        if fields is None:
            self._after, self.tree_id = given.page_token, ""
        else:
            self._after = _text(fields.get("file_name"))
            self.tree_id = _text(fields.get("tree_oid"))  # the tree that the page before listed

    async def of(
        self, batches: AsyncIterator[list[TreeEntry]], tree_id: str
    ) -> AsyncGenerator[list[TreeEntry], None]:
        """What belongs to the page. Raises Internal if the entry before it is not in the list."""
        is_inside = not self._after
        page: list[TreeEntry] = []
        async for batch in batches:
            if not is_inside:
                place = next((n for n, e in enumerate(batch) if self._is_last_one(e)), None)
                if place is None:
                    continue
                is_inside = True
                batch = batch[place + 1 :]  # noqa: PLW2901 - the rest of it
            if self.limit < 0:
                yield batch
                continue
            page += batch[: self.limit + 1 - len(page)]
            if len(page) > self.limit:
                break
        if not is_inside:
            raise Internal(f"could not find starting OID: {self._after}")
        if 0 < self.limit < len(page):
            fields = {"file_name": page[self.limit - 1].name, "tree_oid": tree_id.encode()}
            self.cursor = encoded_token(fields)
        if self.limit > 0 and page:
            yield page[: self.limit]

    def _is_last_one(self, entry: TreeEntry) -> bool:
        """Whether it is the last entry of the page before."""
        if self._by_id:
            return entry.object_id == self._after
        return as_go_decodes(entry.name) == self._after


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
