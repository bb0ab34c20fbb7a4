"""Pages of lists whose items are known by their object id.

Source: Gitaly, internal/gitaly/service/commit/list_commits.go. Both 0 and less mean: no limit.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from gitaly._pb.shared_pb2 import PaginationParameter
from gitaly.git import Object

NO_LIMIT: Final = 2**63 - 1


class ObjectPage:
    """Cuts a part out of a list of object ids, and knows afterwards whether the list went on."""

    def __init__(self, given: PaginationParameter) -> None:
        """`given`: what the request asks for; all if it asks for nothing."""
        self.after = given.page_token.encode()  # the id before it; empty: it begins with the list
        self.limit = given.limit if given.limit > 0 else NO_LIMIT
        self.has_more = False

    async def of(self, batches: AsyncIterator[list[bytes]]) -> AsyncIterator[list[bytes]]:
        """What belongs to the page: nothing if the id before it is not in the list."""
        is_inside = not self.after
        left = self.limit
        async for batch in batches:
            if not is_inside:
                if self.after not in batch:
                    continue
                is_inside = True
                batch = batch[batch.index(self.after) + 1 :]  # noqa: PLW2901 - the rest of it
            yield batch[:left]
            if len(batch) > left:
                self.has_more = True
                return
            left -= len(batch)

    def of_newest(self, commits: Sequence[Object], *, is_all: bool) -> Sequence[Object] | None:
        """What belongs to the page of a list that begins like this; None: that can't be told."""
        start = 0
        if self.after:
            ids = [commit.object_id.encode() for commit in commits]
            start = ids.index(self.after) + 1 if self.after in ids else len(ids)
        self.has_more = len(commits) - start > self.limit
        return commits[start : start + self.limit] if is_all or self.has_more else None
