"""CommitService as a whole."""

from gitaly.services.commit.blame import Blame
from gitaly.services.commit.counts import Counts
from gitaly.services.commit.entries import Entries
from gitaly.services.commit.history import History
from gitaly.services.commit.languages import CommitLanguages
from gitaly.services.commit.listing import Listing
from gitaly.services.commit.lookups import Lookups
from gitaly.services.commit.paths import Paths
from gitaly.services.commit.signed import Signed
from gitaly.services.commit.tree_listing import TreeListing


class CommitServicer(
    Listing, History, Counts, TreeListing, Entries, Paths, Blame, Lookups, Signed, CommitLanguages
):
    """Reads commits, trees and history. Each part of it has a module of its own."""

    SERVICE = "gitaly.CommitService"
