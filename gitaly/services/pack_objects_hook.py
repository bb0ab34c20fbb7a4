"""HookService's call for packs, as hook programs of other make use it on the internal socket."""

from gitaly._pb.hook_pb2 import (
    PackObjectsHookWithSidechannelRequest,
    PackObjectsHookWithSidechannelResponse,
)
from gitaly.rpc import Call
from gitaly.services.pack_objects import PackObjects


class PackObjectsServicer:
    """What the hook of upload-pack asks the node."""

    SERVICE = "gitaly.HookService"

    def __init__(self, pack_objects: PackObjects) -> None:
        self._pack_objects = pack_objects

    async def PackObjectsHookWithSidechannel(
        self, request: PackObjectsHookWithSidechannelRequest, call: Call
    ) -> PackObjectsHookWithSidechannelResponse:
        return await self._pack_objects.by_socket(request, call)
