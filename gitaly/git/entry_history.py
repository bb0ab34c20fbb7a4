"""Which commit changed each of several entries of a directory last: one walk for most of them.

For each entry the answer is that of `git log -1 -- <entry>`: from a merge, the entry's history goes
on with the first parent in which it is the same, and only if there is none, the merge changed it.
Git walks and compares; here each commit hands its entries on to its parents, or keeps them. A few
entries that are left over after a while are as a rule much older, and get a `git log -1` each from
where they are: it costs a twentieth for each commit, and less with Bloom filters.
Source: git-log(1), History Simplification; git, builtin/last-modified.c.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths
from gitaly.git.rev_list import git_lines

# A walk for more entries than these looks at their whole directory: git compares each path with
# each pathspec.
PATHSPECS: Final = 64
COMMITS_TOGETHER: Final = 300  # before a walk for each entry is thought of
FEW_ENTRIES: Final = 16
_HEADER: Final = b"commit "
_FLAGS: Final = (
    "--pretty=short",
    "--no-abbrev-commit",
    "--full-history",
    "--topo-order",  # without, clocks that go wrong make git lose parents
    "--parents",
    "-m",
    "--raw",
    "--no-renames",
    "-z",
)


class Change(NamedTuple):
    """A commit, or one comparison of a merge."""

    commit: bytes
    parents: Sequence[bytes]  # the next ones that count: others lie between
    compared_with: bytes | None  # None: with its only parent, or it is the first commit
    paths: Collection[bytes]


class ChangeParser:
    """Reads what `git log` writes with _FLAGS, token by token, however many come at once.

    A token is `commit <id> <parents>[ (from <parent>)]\\n…`, whose last line may already be the
    first `:<modes> <ids> <status>`; after each of those comes a path.
    """

    def __init__(self) -> None:
        self._header: bytes | None = None
        self._paths: list[bytes] = []
        self._is_path_next = False

    def receive(self, tokens: Iterable[bytes]) -> Iterator[Change]:
        """The changes that are complete: each one is when the next begins."""
        for token in tokens:
            if self._is_path_next:
                self._paths.append(token)
                self._is_path_next = False
                continue
            if token.startswith(_HEADER):
                yield from self.finish()
                self._header, _, rest = token.partition(b"\n")
                token = rest.rpartition(b"\n")[2]  # noqa: PLW2901 - what is left of it
            self._is_path_next = token.startswith(b":")

    def finish(self) -> Iterator[Change]:
        """The last one."""
        if self._header is not None:
            ids, _, compared = self._header.removeprefix(_HEADER).partition(b" (from ")
            commit, *parents = ids.split()
            yield Change(commit, parents, compared.rstrip(b")") or None, self._paths)
        self._header, self._paths = None, []


class LastCommits:
    """Hands entries from commit to commit. Takes changes in topological order, the tip first."""

    def __init__(self, entries: Collection[bytes], directory: bytes) -> None:
        """`entries`: whole paths in one `directory`, which ends with a slash or is empty."""
        self.found: dict[bytes, bytes] = {}  # entry: commit
        self._open = set(entries)
        self._start = len(directory)
        self._waiting: dict[bytes, set[bytes]] | None = None  # entries by the commit to look at
        self._commits = 0
        self._commit: bytes | None = None
        self._parents: Sequence[bytes] = ()
        self._changed: dict[bytes, set[bytes]] = {}  # in comparison with a parent; else: the same

    @property
    def is_complete(self) -> bool:
        """Whether all entries are found."""
        return not self._open

    @property
    def are_few(self) -> bool:
        """Whether what is left is better looked for one by one."""
        return len(self._open) <= FEW_ENTRIES and self._commits > COMMITS_TOGETHER

    def left_over(self) -> Iterator[tuple[bytes, bytes]]:
        """The entries that are not found, each with the commit from which to go on."""
        for commit, entries in (self._waiting or {}).items():
            yield from ((entry, commit) for entry in entries)

    def add(self, change: Change) -> None:
        """What git says next."""
        if change.commit != self._commit:
            self.settle()
            self._commits += 1
            self._commit, self._parents, self._changed = change.commit, change.parents, {}
            if self._waiting is None:
                self._waiting = {change.commit: set(self._open)}
        compared = change.compared_with or (change.parents[0] if change.parents else b"")
        self._changed[compared] = {self._entry_of(path) for path in change.paths}

    def settle(self) -> None:
        """All about the last commit is said: give its entries to its parents."""
        if self._commit is None or self._waiting is None:
            return
        entries = self._waiting.pop(self._commit, set())
        for parent in self._parents:
            same = entries - self._changed.get(parent, set())
            if same:
                self._waiting.setdefault(parent, set()).update(same)
                entries -= same
        self.found.update(dict.fromkeys(entries, self._commit))
        self._open -= entries

    def _entry_of(self, path: bytes) -> bytes:
        end = path.find(b"/", self._start)
        return path if end < 0 else path[:end]


async def last_commits(
    git: Git,
    repository: RepositoryPaths,
    revision: bytes,
    entries: Sequence[bytes],
    directory: bytes,
) -> dict[bytes, bytes]:
    """The ids of the commits by the paths of the entries; those that no commit has are missing.

    `directory` holds all entries; it ends with a slash, or is empty for the root.
    Raises GitFailed.
    """
    last = LastCommits(entries, directory)
    async with aclosing(_changes(git, repository, revision, entries, directory)) as changes:
        async for change in changes:
            last.add(change)
            if last.is_complete or last.are_few:
                break
        else:
            last.settle()
    for entry, start in last.left_over():
        lines = git_lines(
            git,
            "log",
            repository,
            flags=["--format=%H", "--max-count=1"],
            args=[start],
            paths=[entry],
            has_literal_paths=True,
        )
        async with aclosing(lines):
            async for batch in lines:
                last.found[entry] = batch[0]
    return last.found


async def _changes(
    git: Git,
    repository: RepositoryPaths,
    revision: bytes,
    entries: Sequence[bytes],
    directory: bytes,
) -> AsyncGenerator[Change, None]:
    paths = entries if len(entries) <= PATHSPECS else [directory] if directory else []
    parser = ChangeParser()
    tokens = git_lines(
        git,
        "log",
        repository,
        flags=_FLAGS,
        args=[revision],
        paths=paths,
        has_literal_paths=True,
        separator=b"\0",
        config=[("log.showRoot", "true")],  # whatever the repository's own says
    )
    async with aclosing(tokens):
        async for some in tokens:
            for change in parser.receive(some):
                yield change
    for change in parser.finish():
        yield change
