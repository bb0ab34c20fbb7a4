"""The calls of RepositoryService that carry custom hooks as tar archives, under all their names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from gitaly._pb.repository_pb2 import (
    BackupCustomHooksRequest,
    BackupCustomHooksResponse,
    GetCustomHooksRequest,
    GetCustomHooksResponse,
    RestoreCustomHooksRequest,
    RestoreCustomHooksResponse,
    SetCustomHooksRequest,
    SetCustomHooksResponse,
)
from gitaly.errors import prefixed
from gitaly.hooks.custom import HookStore
from gitaly.rpc import Call
from gitaly.services.streams import first_request, inputs
from gitaly.services.voters import Voters
from gitaly.storage import Storages

# A client that vanishes looks for a moment like one that has said everything. Then its call is
# cancelled. An upload of nothing removes hooks, so it has to outlive that moment.
MOMENT_SECONDS: Final = 0.1

SetRequest = SetCustomHooksRequest | RestoreCustomHooksRequest


class CustomHooksServicer:
    """What RepositoryService does about custom hooks."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(self, storages: Storages, hook_store: HookStore, voters: Voters) -> None:
        self._storages = storages
        self._hook_store = hook_store
        self._voters = voters

    async def SetCustomHooks(
        self, requests: AsyncIterator[SetCustomHooksRequest], call: Call
    ) -> SetCustomHooksResponse:
        await self._set_custom_hooks(requests, call)
        return SetCustomHooksResponse()

    async def RestoreCustomHooks(
        self, requests: AsyncIterator[RestoreCustomHooksRequest], call: Call
    ) -> RestoreCustomHooksResponse:
        await self._set_custom_hooks(requests, call)
        return RestoreCustomHooksResponse()

    async def GetCustomHooks(
        self, request: GetCustomHooksRequest, _: Call
    ) -> AsyncIterator[GetCustomHooksResponse]:
        repository = self._storages.existing(request.repository)
        async with aclosing(self._hook_store.read(repository)) as pieces:
            async for piece in pieces:
                yield GetCustomHooksResponse(data=piece)

    async def BackupCustomHooks(
        self, request: BackupCustomHooksRequest, _: Call
    ) -> AsyncIterator[BackupCustomHooksResponse]:
        repository = self._storages.existing(request.repository)
        async with aclosing(self._hook_store.read(repository)) as pieces:
            async for piece in pieces:
                yield BackupCustomHooksResponse(data=piece)

    async def _set_custom_hooks(
        self,
        requests: AsyncIterator[SetCustomHooksRequest] | AsyncIterator[RestoreCustomHooksRequest],
        call: Call,
    ) -> None:
        with prefixed("getting first request"):
            first: SetRequest = await first_request(requests)
        repository = self._storages.changeable(first.repository)
        pieces = _upload(first.data, inputs(requests, "data"))
        await self._hook_store.replace(repository, pieces, self._voters.vote_of(call))


async def _upload(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    is_empty = not first
    if first:
        yield first
    async for piece in rest:
        is_empty = False
        yield piece
    if is_empty:
        await asyncio.sleep(MOMENT_SECONDS)
