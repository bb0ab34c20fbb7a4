"""Which commits have files that `git archive` fills in.

With the attribute export-subst, "$Format:…$" becomes what git-log(1) would print, and that may
depend on references (%D, %(describe)), notes, a mailmap, keys and the time of day.
"""

import asyncio
from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from gitaly.git import Git, RepositoryPaths

ATTRIBUTE: Final = "export-subst"
MOST_COMMITS: Final = 4096  # that are remembered: what is true of one stays true


class Substitution:
    """Knows, or asks git."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._known: OrderedDict[str, bool] = OrderedDict()  # by commit, used longest ago first
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def is_in(self, repository: RepositoryPaths, commit: str) -> bool:
        """Whether any .gitattributes of the commit speaks of it; True if that cannot be found out.

        Many who ask at once share one git.
        """
        turn = self._turns.setdefault(commit, asyncio.Lock())
        async with turn:
            found = self._known.get(commit)
            if found is None:
                found = await self._look(repository, commit)
            if found is None:
                return True
            self._known[commit] = found
            self._known.move_to_end(commit)
            while len(self._known) > MOST_COMMITS:
                self._known.popitem(last=False)
            return found

    async def _look(self, repository: RepositoryPaths, commit: str) -> bool | None:
        done = await self._git.output(
            "grep",
            repository=repository,
            flags=["--quiet", "--text", "--fixed-strings", ("-e", ATTRIBUTE)],
            args=[commit],
            after_separator=[":(glob)**/.gitattributes"],
        )
        if done.exit:
            return True
        return False if done.exit.code == 1 and not done.stderr else None
