"""What all parts of BlobService read with."""

from gitaly.git import Git, Objects
from gitaly.storage import Storages


class BlobReading:
    """The base of BlobService's parts."""

    def __init__(self, storages: Storages, git: Git, objects: Objects) -> None:
        self._storages = storages
        self._git = git
        self._objects = objects
