"""One git archive, whose complaints tell whether others may have what it writes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gitaly.errors import NodeError
from gitaly.git import PIPE, Archive, Child, Git, GitFailed, PipeReader, RepositoryPaths
from gitaly.git import archive_options as options_of
from gitaly.streamcache import Sayer, hear
from gitaly.tasks import background


class ArchiveJob:
    """Makes one archive. It is a `streamcache.Job`."""

    def __init__(self, git: Git, repository: RepositoryPaths, archive: Archive) -> None:
        self._git = git
        self._repository = repository
        self._archive = archive

    @asynccontextmanager
    async def running(self, _: Sayer, doubt: Callable[[], None]) -> AsyncIterator["ArchiveWork"]:
        """As `Job.running`."""
        options = options_of(self._repository, self._archive)
        async with self._git.run("archive", stderr=PIPE, **options) as child:
            assert child.stdout is not None
            child.stdout.enlarge()
            # A git that makes what it was asked for says nothing. Where it does, a filter has
            # failed, or an LFS object is not to be had now: the next who asks may be luckier.
            async with background(hear(child, lambda _: doubt())) as listening:
                yield ArchiveWork(child, child.stdout, listening)

    def explained(self, _: NodeError) -> bytes:
        """Nothing: the readers get the error itself."""
        return b""


class ArchiveWork:
    """Such a git, while it runs."""

    def __init__(self, child: Child, source: PipeReader, listening: "asyncio.Task[None]") -> None:
        self.source = source
        self._child = child
        self._listening = listening

    async def finish(self) -> dict[str, int]:
        """As `Work.finish`. Raises GitFailed."""
        how = await self._child.wait()
        await self._listening
        if not how:
            raise GitFailed(how, self._child.error_text)
        return {}
