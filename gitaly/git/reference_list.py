"""Lists of references, streamed from `git for-each-ref`; answers are those of the newest git."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gitaly.errors import Internal
from gitaly.git.command import Git, GitFailed
from gitaly.git.exit_status import Exit
from gitaly.git.paths import RepositoryPaths
from gitaly.git.pointing_at import names_pointing_at, resolved
from gitaly.git.reference_lines import Flags, reference_lines
from gitaly.git.references import ListedReference, ReferenceQuery
from gitaly.git.version import EXCLUDE_OPTION, FULL_PEEL, POINTS_AT_NESTED

_FIELDS: Final = ("%(refname)", "%(objectname)")
_PEEL_FIELDS: Final = ("%(*objectname)", "%(*objecttype)")


class ListingFailed(Internal):
    """for-each-ref ended badly."""

    def __init__(self, how: Exit, stderr: bytes) -> None:
        code = -1 if how.code is None else how.code
        super().__init__(
            f"listing failed with exit code {code}", stderr=stderr.decode(errors="replace")
        )
        self.exit = how


async def list_references(
    git: Git, repository: RepositoryPaths, query: ReferenceQuery
) -> AsyncGenerator[list[ListedReference], None]:
    """See `References.list`."""
    flags = _flags(query)
    excluded: frozenset[bytes] = frozenset()
    if git.binary.version >= EXCLUDE_OPTION:
        flags += [b"--exclude=" + pattern for pattern in query.exclude]
    elif query.exclude:
        excluded = await _matching(git, repository, query)
    wanted = None
    if query.points_at and git.binary.version < POINTS_AT_NESTED:
        wanted = await _pointing(git, repository, query)
    if wanted is None:
        flags += [("--points-at", object_id) for object_id in query.points_at]
    async with aclosing(_lines(git, repository, flags, query.patterns)) as written:
        async for lines in written:
            batch = [_parsed(line) for line in lines]
            if query.peel_tags and git.binary.version < FULL_PEEL:
                batch = await _peeled_fully(git, repository, batch, lines)
            kept = [
                reference
                for reference in batch
                if reference.name not in excluded and (wanted is None or reference.name in wanted)
            ]
            if kept:
                yield kept


def _flags(query: ReferenceQuery) -> Flags:
    fields = _FIELDS + (_PEEL_FIELDS if query.peel_tags else ())
    direction = "-" if query.descending else ""
    flags: Flags = [
        ("--format", "%00".join(fields)),
        ("--sort", direction + query.sort_key.value),
    ]
    if query.merged is not None:
        flags.append(b"--merged=" + query.merged)
    if query.ignore_case:
        flags.append("--ignore-case")
    return flags


async def _lines(
    git: Git, repository: RepositoryPaths, flags: Flags, patterns: Sequence[bytes]
) -> AsyncGenerator[list[bytes], None]:
    try:
        async with aclosing(reference_lines(git, repository, flags, patterns)) as batches:
            async for lines in batches:
                yield lines
    except GitFailed as error:
        raise ListingFailed(error.exit, error.stderr) from error


def _parsed(line: bytes) -> ListedReference:
    name, target, *peeled = line.split(b"\0")
    return ListedReference(name, target.decode(), peeled[0].decode() if peeled else "")


async def _pointing(
    git: Git, repository: RepositoryPaths, query: ReferenceQuery
) -> frozenset[bytes] | None:
    """What newer gits find by --points-at; None: git itself shall say what is wrong with it."""
    ends = await resolved(git, repository, query.points_at)
    if ends is None:
        return None
    try:
        return await names_pointing_at(
            git, repository, ends, query.patterns, ignores_case=query.ignore_case
        )
    except GitFailed as error:
        raise ListingFailed(error.exit, error.stderr) from error


async def _matching(
    git: Git, repository: RepositoryPaths, query: ReferenceQuery
) -> frozenset[bytes]:
    """The names that --exclude would leave out: git itself tells which, by the same matching."""
    flags: Flags = ["--format=%(refname)"]
    if query.ignore_case:
        flags.append("--ignore-case")
    names: set[bytes] = set()
    async for lines in _lines(git, repository, flags, query.exclude):
        names.update(lines)
    return frozenset(names)


async def _peeled_fully(
    git: Git,
    repository: RepositoryPaths,
    batch: list[ListedReference],
    lines: Sequence[bytes],
) -> list[ListedReference]:
    """Git before 2.45 peels a tag of a tag once only: go on where that was not the end."""
    nested = {
        reference.peeled_target
        for reference, line in zip(batch, lines, strict=True)
        if line.endswith(b"\0tag")
    }
    if not nested:
        return batch
    ordered = sorted(nested)
    answers = await git.output(
        "cat-file",
        repository=repository,
        flags=["--batch-check=%(objectname)"],
        input="".join(f"{object_id}^{{}}\n" for object_id in ordered).encode(),
    )
    ends = dict(zip(ordered, answers.checked().decode().splitlines(), strict=True))
    return [
        reference._replace(peeled_target=ends.get(reference.peeled_target, reference.peeled_target))
        for reference in batch
    ]
