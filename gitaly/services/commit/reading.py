"""What all parts of CommitService read with."""

from gitaly.git import Git, Objects, References
from gitaly.services.commits import Commits
from gitaly.storage import Storages


class CommitReading:
    """The base of CommitService's parts."""

    def __init__(
        self, storages: Storages, git: Git, *, objects: Objects, references: References
    ) -> None:
        self._storages = storages
        self._git = git
        self._objects = objects
        self._references = references
        self._commits = Commits(objects)
