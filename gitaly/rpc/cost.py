"""What a call cost the node, roughly, for clients that ration themselves: `x-gitaly-cost`.

Source: Gitaly, internal/grpc/middleware/costhandler/costhandler.go.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gitaly.rpc.call import Call
from gitaly.rpc.contract import Method

TRAILER: Final = "x-gitaly-cost"
MEBIBYTE: Final = 1 << 20
BY_OPERATION: Final[Mapping[str, int]] = MappingProxyType(
    {"accessor": 1, "mutator": 5, "maintenance": 3}
)
UNKNOWN: Final = 1
BY_METHOD: Final[Mapping[str, int]] = MappingProxyType(
    {
        "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel": 10,
        "/gitaly.SmartHTTPService/PostReceivePack": 10,
        "/gitaly.SSHService/SSHUploadPackWithSidechannel": 10,
        "/gitaly.SSHService/SSHReceivePack": 10,
        "/gitaly.DiffService/CommitDiff": 8,
        "/gitaly.DiffService/RawDiff": 8,
        "/gitaly.DiffService/RawPatch": 8,
        "/gitaly.BlobService/GetBlobs": 6,
        "/gitaly.BlobService/ListBlobs": 6,
        "/gitaly.CommitService/ListCommits": 6,
        "/gitaly.ServerService/ServerInfo": 0,
    }
)


def base_cost(method: Method) -> int:
    """What every call of a method costs."""
    return BY_METHOD.get(method.path, BY_OPERATION.get(method.operation, UNKNOWN))


def cost_metadata(call: Call) -> tuple[tuple[str, str], ...]:
    """The trailer: the method's cost, and one for each mebibyte of messages begun.

    Nothing for a call that authentication or a limit refused.
    """
    if call.base_cost is None:
        return ()
    begun = -(-(call.received_bytes + call.sent_bytes) // MEBIBYTE)
    return ((TRAILER, str(call.base_cost + begun)),)
