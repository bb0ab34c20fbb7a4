"""CommitService as a whole."""

from gitaly.services.commit.history import History
from gitaly.services.commit.listing import Listing
from gitaly.services.commit.lookups import Lookups


class CommitServicer(Listing, History, Lookups):
    """Reads commits, trees and history. Each part of it has a module of its own."""

    SERVICE = "gitaly.CommitService"
