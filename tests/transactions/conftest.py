import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly.observe.log import make_logger
from gitaly.transactions import Transaction, TransactionManager
from gitaly.transport.backchannel import Backchannels
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import Served, a_node
from tests.transactions.praefect import Link, Praefect, a_praefect


@dataclass
class Polling:
    """A manager of transactions, and a Praefect that is connected to its node."""

    served: Served
    praefect: Praefect
    link: Link
    backchannels: Backchannels
    log: io.BytesIO = field(default_factory=io.BytesIO)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def manager(self, **seconds: float) -> TransactionManager:
        logger = make_logger(self.log, format="json")
        return TransactionManager(self.backchannels, self.registry, (), logger, **seconds)

    def transaction(self, *nodes: str) -> Transaction:
        """A new one of nodes, the primary first; of this one alone if none are named."""
        number = self.praefect.begin(nodes or ["node-1"])
        [connection] = [x for x in self.served.connections if x.backchannel_id]
        return Transaction(
            id=number, node="node-1", primary=True, backchannel_id=connection.backchannel_id
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def counted(self, phase: str, outcome: str) -> float | None:
        name = "gitaly_hook_transaction_votes_total"
        return self.registry.get_sample_value(name, {"phase": phase, "outcome": outcome})


@asynccontextmanager
async def a_polling(directory: Path, *, serves_votes: bool = True) -> AsyncIterator[Polling]:
    async with a_node(directory) as served:
        async with a_praefect(serves_votes=serves_votes) as praefect:
            link = praefect.connect(served, "node-1")
            await link.ping()
            async with Backchannels(served.connections) as backchannels:
                yield Polling(served, praefect, link, backchannels)
        await served.quiet()


@pytest.fixture
async def polling(tmp_path: Path) -> AsyncIterator[Polling]:
    async with a_polling(tmp_path) as polling:
        yield polling
