"""What every call passes through, and what a service gets to see of it."""

from gitaly.rpc.auth import Authenticator, AuthPolicy
from gitaly.rpc.call import Call
from gitaly.rpc.contract import Method, method_of, node_services
from gitaly.rpc.shedding import RunningReads

__all__ = [
    "AuthPolicy",
    "Authenticator",
    "Call",
    "Method",
    "RunningReads",
    "method_of",
    "node_services",
]
