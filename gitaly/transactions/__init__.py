"""Votes to Praefect: every node of a cluster does the same, or none does."""

from gitaly.transactions.errors import TransactionAborted, TransactionStopped
from gitaly.transactions.manager import TransactionManager
from gitaly.transactions.metadata import METADATA_KEY, Transaction, parse_transaction
from gitaly.transactions.voter import Voter, VoterOf

__all__ = [
    "METADATA_KEY",
    "Transaction",
    "TransactionAborted",
    "TransactionManager",
    "TransactionStopped",
    "Voter",
    "VoterOf",
    "parse_transaction",
]
