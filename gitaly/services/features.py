"""Feature flags: what a client switches on and off for its own call.

Source: Gitaly, internal/featureflag. Flags are metadata, `gitaly-feature-<name>: true`.
"""

from typing import Final

from gitaly.rpc import Call

MAILMAP: Final = "gitaly-feature-mailmap-options"
REF_ITERATOR: Final = "gitaly-feature-ref-iterator"


def is_on(call: Call, flag: str) -> bool:
    """Whether it is on, for a flag that is unless the client says otherwise."""
    return call.metadata.get(flag, "true") == "true"
