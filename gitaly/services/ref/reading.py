"""What all parts of RefService read with."""

from gitaly.git import NO_MAILMAP, Git, Mailmap, Objects, References, RepositoryPaths
from gitaly.rpc import Call
from gitaly.services.commits import Commits
from gitaly.services.features import MAILMAP, is_on
from gitaly.services.ref.known_messages import KnownMessages
from gitaly.storage import Storages


class RefReading:
    """The base of RefService's parts."""

    def __init__(
        self, storages: Storages, git: Git, *, objects: Objects, references: References
    ) -> None:
        self._storages = storages
        self._git = git
        self._objects = objects
        self._references = references
        self._commits = Commits(objects)
        self._known = KnownMessages()

    async def _mailmap(self, repository: RepositoryPaths, call: Call) -> Mailmap:
        """The one by which this client wants people to be named."""
        if not is_on(call, MAILMAP):
            return NO_MAILMAP
        return await self._commits.mailmap(repository)
