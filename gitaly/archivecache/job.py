"""One git archive, whose complaints tell whether others may have what it writes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gitaly.errors import NodeError
from gitaly.git import PIPE, Archive, Child, Git, GitFailed, PipeReader, RepositoryPaths
from gitaly.git import archive_options as options_of
from gitaly.git.error_text import ErrorText
from gitaly.streamcache import Sayer
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
            error_text = ErrorText()
            async with background(_listen(child, error_text, doubt)) as listening:
                yield ArchiveWork(child, child.stdout, listening, error_text)

    def explained(self, _: NodeError) -> bytes:
        """Nothing: the readers get the error itself."""
        return b""


class ArchiveWork:
    """Such a git, while it runs."""

    def __init__(
        self,
        child: Child,
        source: PipeReader,
        listening: "asyncio.Task[None]",
        error_text: ErrorText,
    ) -> None:
        self.source = source
        self._child = child
        self._listening = listening
        self._error_text = error_text

    async def finish(self) -> dict[str, int]:
        """As `Work.finish`. Raises GitFailed."""
        how = await self._child.wait()
        await self._listening
        if not how:
            raise GitFailed(how, self._error_text.value())
        return {}


async def _listen(child: Child, error_text: ErrorText, doubt: Callable[[], None]) -> None:
    """A git that makes what it was asked for says nothing.

    Where it says something, a filter has failed, or an LFS object is not to be had now: the next
    one who asks may be luckier.
    """
    assert child.stderr is not None
    while piece := await child.stderr.read():
        error_text.feed(piece)
        doubt()
