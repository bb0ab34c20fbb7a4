"""Which group a git process belongs to. Source: Gitaly, internal/cgroups (the hash, the names)."""

import zlib
from random import Random

from gitaly.cgroups.settings import Resources, Settings


class Choice:
    """Maps repositories to the names of groups."""

    def __init__(self, settings: Settings, random: Random) -> None:
        """`random` spreads the commands of one repository over the groups that it may use."""
        self._settings = settings
        self._random = random

    def of(self, key: str) -> str:
        """The group of "<storage name>/<relative path>", or of a command without repository."""
        named = self._settings.named.get(key)
        if named is not None:
            return f"repos-{named.name}"
        count, spread = self._settings.count, self._settings.groups_per_repository
        number = zlib.crc32(key.encode(errors="surrogateescape"))
        if spread > 1:
            number += self._random.randrange(spread)
        return f"repos-{number % count}"

    def resources(self, name: str) -> Resources:
        """The limits of a group."""
        for named in self._settings.named.values():
            if f"repos-{named.name}" == name:
                return named.resources
        return self._settings.repository
