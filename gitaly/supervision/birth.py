"""What the process of a node was given: by systemd, by the process before it, by its limits."""

from gitaly.supervision.inherited import Inheritance
from gitaly.supervision.predecessor import Predecessor


class Birth:
    """Of a node that has its process for itself. Without arguments: it was given nothing."""

    def __init__(
        self,
        sockets: Inheritance | None = None,
        predecessor: Predecessor | None = None,
        open_files: int | None = None,
    ) -> None:
        """`open_files`: the soft limit that children get back; None: that of the process."""
        self.sockets = sockets or Inheritance()
        self.open_files = open_files
        self._predecessor = predecessor

    async def my_turn(self) -> None:
        """Come back when this process may accept. Raises LostPredecessor."""
        if self._predecessor is not None:
            await self._predecessor.my_turn()

    async def alone(self) -> None:
        """Come back when the process before this one has ended."""
        if self._predecessor is not None:
            await self._predecessor.is_gone.wait()
