"""What SSH and HTTP pushes have in common on the gRPC side."""

from gitaly.errors import FailedPrecondition


class PushPolicy:
    """Whether a push may be served at all: never one that nobody has checked.

    A node without `[gitlab]` is on its own, and accepts pushes of whoever has a token. One with
    `[gitlab]` needs hooks, which this version has not.
    """

    def __init__(self, *, is_standalone: bool) -> None:
        self._is_standalone = is_standalone

    def check(self) -> None:
        """Raises FailedPrecondition."""
        if not self._is_standalone:
            raise FailedPrecondition("hooks are not available in this version")
