"""`gitaly hooks set`: custom hooks of a repository from an archive, through the running node."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import grpc

from gitaly._pb.repository_pb2 import SetCustomHooksRequest, SetCustomHooksResponse
from gitaly._pb.shared_pb2 import Repository
from gitaly.client import dial
from gitaly.client.calls import failed
from gitaly.config import Config, ConfigError, load
from gitaly.errors import NodeError

METHOD: Final = "/gitaly.RepositoryService/SetCustomHooks"
PIECE_BYTES: Final = 128 * 1024
DIAL_SECONDS: Final = 10


def set_hooks(config_path: str, storage: str, repository: str, archive: BinaryIO) -> int:
    """Send the archive; 0, or 1 and the reason on stderr."""
    try:
        config = load(config_path)
        target = Repository(storage_name=storage or _only_storage(config), relative_path=repository)
        asyncio.run(_send(config, target, archive))
    except (NodeError, OSError, TimeoutError) as error:
        print(f"gitaly hooks set: {error}", file=sys.stderr)
        return 1
    return 0


def _only_storage(config: Config) -> str:
    if len(config.storages) != 1:
        raise ConfigError(
            "multiple storages configured: use --storage to target storage explicitly"
            if config.storages
            else "no storage configured"
        )
    return config.storages[0].name


async def _send(config: Config, repository: Repository, archive: BinaryIO) -> None:
    secret = config.auth.secret.encode("utf-8", "surrogateescape")
    metadata = [("x-gitlab-client-name", "gitaly-hooks-set")]
    dialling = dial(config.client_address(), secret, metadata=metadata)
    async with asyncio.timeout(DIAL_SECONDS) as limit, dialling as node:
        limit.reschedule(None)  # the upload itself may take its time
        await asyncio.to_thread(_call, node.channel, node.metadata(), repository, archive)


def _call(channel: grpc.Channel, metadata: Any, repository: Repository, archive: BinaryIO) -> None:
    # Any: grpc's stubs want a type of their own for metadata
    call: Any = channel.stream_unary(
        METHOD,
        request_serializer=SetCustomHooksRequest.SerializeToString,
        response_deserializer=SetCustomHooksResponse.FromString,
    )
    try:
        call(_requests(repository, archive), metadata=metadata)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        raise failed(error) from error


def _requests(repository: Repository, archive: BinaryIO) -> Iterator[SetCustomHooksRequest]:
    yield SetCustomHooksRequest(repository=repository)
    while piece := archive.read(PIECE_BYTES):
        yield SetCustomHooksRequest(data=piece)
