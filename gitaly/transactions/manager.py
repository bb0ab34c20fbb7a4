"""Casts votes where the call that wants to change something came from.

Source: Gitaly, internal/gitaly/transaction/manager.go, whose log lines and histogram these are.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from grpc import aio
from prometheus_client import CollectorRegistry, Counter, Histogram

from gitaly._pb.transaction_pb2 import (
    StopTransactionRequest,
    StopTransactionResponse,
    VoteTransactionRequest,
    VoteTransactionResponse,
)
from gitaly.errors import NodeError
from gitaly.git.account import current_account
from gitaly.observe.log import Logger
from gitaly.storage import Phase, VoteFailed
from gitaly.transactions.errors import TransactionAborted, TransactionStopped, failure_of
from gitaly.transactions.metadata import Transaction
from gitaly.transport.backchannel import Backchannels, NoBackchannel

M = TypeVar("M", bound=Message)

VOTE_PATH: Final = "/gitaly.RefTransaction/VoteTransaction"
STOP_PATH: Final = "/gitaly.RefTransaction/StopTransaction"
VOTE_SECONDS: Final = 300  # hooks on the primary may take long, and the others wait for them
STOP_SECONDS: Final = 30  # nobody has to do anything first
CORRELATION_ID: Final = "x-gitlab-correlation-id"

PHASES: Final[Mapping[Phase, VoteTransactionRequest.Phase]] = MappingProxyType(
    {
        Phase.PREPARING: VoteTransactionRequest.PREPARING_PHASE,
        Phase.PREPARED: VoteTransactionRequest.PREPARED_PHASE,
        Phase.COMMITTED: VoteTransactionRequest.COMMITTED_PHASE,
        Phase.SYNCHRONIZED: VoteTransactionRequest.SYNCHRONIZED_PHASE,
    }
)


class TransactionManager:
    """Votes on transactions and stops them, each over the backchannel that it names."""

    def __init__(
        self,
        backchannels: Backchannels,
        registry: CollectorRegistry,
        buckets: Sequence[float],  # upper bounds, seconds; none: the usual ones
        logger: Logger,
        *,
        vote_seconds: float = VOTE_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._backchannels = backchannels
        self._logger = logger.bind(component="transaction.PoolManager")
        self._vote_seconds = vote_seconds
        self._stop_seconds = stop_seconds
        self._delay = Histogram(
            "gitaly_hook_transaction_voting_delay_seconds",
            "Delay between calling out to transaction service and receiving a response",
            buckets=tuple(buckets) or Histogram.DEFAULT_BUCKETS,
            registry=registry,
        )
        self._votes = Counter(
            "gitaly_hook_transaction_votes_total",
            "Votes that this node has cast, by phase and by what came of them.",
            ["phase", "outcome"],
            registry=registry,
        )

    async def vote(self, transaction: Transaction, phase: Phase, digest: bytes) -> None:
        """Cast a vote of 20 bytes and wait for the quorum; cancelled, it is withdrawn.

        It is never cast twice: one too many would be compared with the next one of the others.
        Votes on one transaction must be cast one after another.
        Raises TransactionAborted, TransactionStopped, VoteFailed for a backchannel that is gone,
        and what `failure_of` makes of a status.
        """
        request = VoteTransactionRequest(
            transaction_id=transaction.id,
            node=transaction.node,
            reference_updates_hash=digest,
            phase=PHASES[phase],
        )
        logger = self._logger_of(transaction).bind(**{"transaction.hash": digest.hex()})
        with self._counted(phase):
            try:
                with self._delay.time():
                    answer = await self._ask(
                        transaction, VOTE_PATH, request, VoteTransactionResponse, self._vote_seconds
                    )
            except NodeError as error:
                logger.error("vote failed", error=error.message)
                raise
            if answer.state == VoteTransactionResponse.COMMIT:
                return
            if answer.state == VoteTransactionResponse.ABORT:
                logger.error("transaction was aborted")
                raise TransactionAborted
            if answer.state == VoteTransactionResponse.STOP:
                logger.error("transaction was stopped")
                raise TransactionStopped
            raise VoteFailed("invalid transaction state")

    async def stop(self, transaction: Transaction) -> None:
        """Tell all nodes that the change is refused: whoever waits or votes later is stopped.

        Raises as `vote`.
        """
        request = StopTransactionRequest(transaction_id=transaction.id)
        try:
            await self._ask(
                transaction, STOP_PATH, request, StopTransactionResponse, self._stop_seconds
            )
        except NodeError as error:
            logger = self._logger_of(transaction)
            logger.error("stopping transaction failed", error=error.message)
            raise

    async def _ask(
        self, transaction: Transaction, path: str, request: Message, answer: type[M], seconds: float
    ) -> M:
        try:
            channel = self._backchannels.channel(transaction.backchannel_id)
        except NoBackchannel as error:
            raise VoteFailed(f"get backchannel: {error.message}") from error
        method: Any = channel.unary_unary(  # untyped by its stubs
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        correlation_id = current_account().correlation_id
        metadata = ((CORRELATION_ID, correlation_id),) if correlation_id else ()
        try:
            found: M = await method(request, timeout=seconds, metadata=metadata)
        except aio.AioRpcError as error:
            raise failure_of(error, seconds) from error
        return found

    def _logger_of(self, transaction: Transaction) -> Logger:
        fields = {"transaction.id": transaction.id, "transaction.voter": transaction.node}
        correlation_id = current_account().correlation_id
        if correlation_id:
            fields["correlation_id"] = correlation_id
        return self._logger.bind(**fields)

    @contextmanager
    def _counted(self, phase: Phase) -> Iterator[None]:
        outcome = "failed"
        try:
            yield
            outcome = "committed"
        except TransactionAborted:
            outcome = "aborted"
            raise
        except TransactionStopped:
            outcome = "stopped"
            raise
        except asyncio.CancelledError:
            outcome = "canceled"
            raise
        finally:
            self._votes.labels(phase.value, outcome).inc()
