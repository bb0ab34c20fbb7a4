"""CommitService as a whole."""

from gitaly.services.commit.lookups import Lookups


class CommitServicer(Lookups):
    """Reads commits, trees and history. Each part of it has a module of its own."""

    SERVICE = "gitaly.CommitService"
