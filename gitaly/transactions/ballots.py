"""What is voted on: the bytes whose hash every node of a cluster must arrive at.

A byte or a vote more or less on one node is fatal to that node's copy, so each rule here is the
reference's. Hashes are SHA-1, for repositories of either object format. What is voted on when a
repository is made or removed stands beside those who do it, in the storage room.
Source: Gitaly, internal/gitaly/hook.
"""

from typing import Final

from gitaly.storage import digest_of

# Cast at the end of a push, whatever came of it: a call without a vote would count as one that
# left the other nodes behind. It is no hash of anything.
CONCLUSION: Final = bytes(20)

_FORCE_DELETIONS: Final = tuple(b"0" * n + b" " + b"0" * n + b" " for n in (40, 64))


def hook_synchronization(hook: str) -> bytes:
    """By which nodes wait for the one that runs a hook: "pre-receive", "update", …"""
    return digest_of(f"synchronize {hook} hook".encode())


def reference_updates(lines: bytes) -> bytes | None:
    """For what git gives to its reference-transaction hook; None: no vote is cast.

    That is so where all updates are deletions without an old value: git cleans the packed
    references like that, and what is packed differs from node to node.
    """
    if all(line.startswith(_FORCE_DELETIONS) for line in lines.splitlines()):
        return None
    return digest_of(lines)
