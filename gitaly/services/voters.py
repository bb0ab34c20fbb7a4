"""The part that a call has in a transaction of Praefect's."""

from gitaly.rpc import Call
from gitaly.storage import Vote
from gitaly.transactions import METADATA_KEY, TransactionManager, Voter, parse_transaction
from gitaly.transport.connections import Connection


class Voters:
    """Gives each call its voter."""

    def __init__(self, manager: TransactionManager) -> None:
        self._manager = manager

    def of(self, call: Call) -> Voter:
        """What casts the call's votes on the connection that it came in on.

        Raises InvalidRequest for metadata that nobody can read: nothing was changed then.
        """
        said = call.metadata.get(METADATA_KEY)
        if said is None:
            return Voter(self._manager, None)
        connection = call.connection
        number = connection.backchannel_id if isinstance(connection, Connection) else 0
        return Voter(self._manager, parse_transaction(said, number))

    def vote_of(self, call: Call) -> Vote | None:
        """The call's vote, for those who would have to find out what to vote on; None: nobody
        asks. Raises InvalidRequest."""
        voter = self.of(call)
        return None if voter.transaction is None else voter.vote
