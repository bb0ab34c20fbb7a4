"""Packs for upload-pack: computed once, given to all who want the same."""

from typing import Final

from gitaly.git import Git
from gitaly.observe.log import Logger
from gitaly.packcache.job import PackJob
from gitaly.packcache.key import key_of
from gitaly.packcache.request import Limiter, PackRequest
from gitaly.streamcache import (
    Blocking,
    Cache,
    CacheMetrics,
    Kind,
    Reader,
    Served,
    Shelf,
    StreamCache,
    StreamMetrics,
)

PREFIX: Final = "pack objects hook"
PACKS: Final = Kind(
    name="pack_objects",
    cache="pack-objects cache",
    thing="pack",
    a_thing="a pack",
    program="git pack-objects",
    error_prefix=PREFIX,
)


def pack_metrics(streams: StreamMetrics) -> CacheMetrics:
    """What is counted of packs; also where none is kept."""
    return CacheMetrics(PACKS, streams, more_reasons=["off"], is_moved_by_kernel=True)


class PackCache(Cache):
    """Serves requests for packs."""

    def __init__(
        self,
        git: Git,
        *,
        shelf: Shelf | None,  # None: the cache is off, every request computes its pack
        limiter: Limiter,
        blocking: Blocking,
        metrics: CacheMetrics,
        trace_directory: str,  # for what git tells of its work, while it works
        logger: Logger,
    ) -> None:
        super().__init__(
            StreamCache(PACKS, shelf=shelf, blocking=blocking, metrics=metrics, logger=logger)
        )
        self._git = git
        self._limiter = limiter
        self._blocking = blocking
        self._trace_directory = trace_directory

    async def serve(self, request: PackRequest, reader: Reader, served: Served) -> None:
        """Give a reader its pack; `served` tells about it also if this fails.

        Raises Cancelled if the reader is gone, ResourceExhausted or another error of the limiter,
        Internal if git fails, StoppedByLimit if the kernel stopped it for want of memory.
        """

        def job() -> PackJob:
            return PackJob(
                request,
                git=self._git,
                limiter=self._limiter,
                blocking=self._blocking,
                trace_directory=self._trace_directory,
            )

        key = None
        if self._streams.is_on:
            key = await self._blocking.run(
                key_of, request.repository, request.object_format, request.command, request.stdin
            )
        repository = f"{request.repository.storage_name}/{request.repository.relative_path}"
        await self._streams.serve(key, job, repository, reader, served)


def statistics_of(said: bytes) -> str:
    """Git's line "Total …"; empty: it has not said one."""
    for line in said.replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"Total "):
            return line.decode(errors="replace")
    return ""
