"""One call's part in a transaction. Where there is no transaction, everybody agrees at once."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Protocol

from gitaly.errors import Aborted, FailedPrecondition, prefixed
from gitaly.storage import Phase, voting
from gitaly.transactions import ballots
from gitaly.transactions.errors import TransactionAborted, TransactionStopped
from gitaly.transactions.metadata import Transaction

# States in which a reference-transaction hook votes. The hook programs don't ask in "preparing",
# which only newer versions of git have.
PHASE_OF_STATE: Final[Mapping[str, Phase]] = MappingProxyType(
    {
        "preparing": Phase.PREPARING,
        "prepared": Phase.PREPARED,
        "committed": Phase.COMMITTED,
    }
)


class Poll(Protocol):
    """Where votes are cast; a node's is its `TransactionManager`."""

    async def vote(self, transaction: Transaction, phase: Phase, digest: bytes) -> None:
        """Cast a vote of 20 bytes and wait for the others. Raises NodeError."""
        ...

    async def stop(self, transaction: Transaction) -> None:
        """Let nobody agree any more. Raises NodeError."""
        ...


class Voter:
    """Casts the votes of one call, of its git children's hooks, or none."""

    def __init__(self, poll: Poll, transaction: Transaction | None) -> None:
        self._poll = poll
        self.transaction = transaction

    @property
    def is_primary(self) -> bool:
        """Whether hooks run here: on one node of a transaction, and wherever there is none."""
        return self.transaction is None or self.transaction.primary

    async def vote(self, phase: Phase, digest: bytes) -> None:
        """Cast a vote and wait for the quorum. Raises as `Poll.vote`."""
        if self.transaction is not None:
            await self._poll.vote(self.transaction, phase, digest)

    async def synchronize(self, hook: str) -> None:
        """Wait until the primary has run a hook: "pre-receive", "update" or "post-receive".

        Raises as `vote`, with the reference's words in front.
        """
        with prefixed(f"synchronizing {hook} hook"), prefixed("vote failed"):
            await self.vote(Phase.SYNCHRONIZED, ballots.hook_synchronization(hook))

    async def reference_transaction(self, state: str, updates: bytes) -> None:
        """Vote on what git gives to its reference-transaction hook: its argument and its input.

        Raises Aborted, FailedPrecondition for a transaction that was stopped, and as `vote`; git
        then gives the changes up, if it still can.
        """
        phase = PHASE_OF_STATE.get(state)
        digest = ballots.reference_updates(updates)
        if phase is None or digest is None:
            return
        try:
            with prefixed("error voting on transaction"):
                await self.vote(phase, digest)
        except TransactionAborted as error:
            raise Aborted(error.message) from error
        except TransactionStopped as error:
            raise FailedPrecondition(error.message) from error

    async def stop(self) -> None:
        """Tell the other nodes that a hook has refused the change. Raises NodeError."""
        if self.transaction is not None:
            await self._poll.stop(self.transaction)

    async def conclude(self) -> None:
        """The vote that ends every push, also one of which git has refused all references.

        A stopped transaction is no news here: the pusher has read why. Raises as `vote`, but
        Aborted where that says no more than that there is no agreement.
        """
        with voting(Aborted, "final transactional vote"), suppress(TransactionStopped):
            await self.vote(Phase.COMMITTED, ballots.CONCLUSION)


# Who votes for what the hooks of a git child belong to.
VoterOf = Callable[[Transaction | None], Voter]
