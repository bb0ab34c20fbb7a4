"""Every call that changes something takes part in Praefect's transactions, or says why not.

A change without a vote makes Praefect copy the whole repository to the other nodes again.
"""

from gitaly.rpc import node_services
from tests.rpcs_page import BUILT

# Votes that Praefect waits for; tests of these calls show which ones.
VOTING = {
    "CreateRepository",
    "PostReceivePack",
    "RemoveRepository",
    "RestoreCustomHooks",
    "SSHReceivePack",
    "SetCustomHooks",
}
# The hook changes something only with a write-ahead log, which this node has not; the languages are
# only remembered, in a file of their own. The original casts no votes for them either.
CHANGING_NOTHING = {"CommitLanguages", "ProcReceiveHook"}


def test_every_mutator_that_is_built_votes() -> None:
    built = {
        method.name
        for service, methods in node_services().items()
        for method in methods
        if method.operation == "mutator"
        and any(hasattr(x, method.name) for x in BUILT if service == x.SERVICE)
    }
    assert built - CHANGING_NOTHING == VOTING
