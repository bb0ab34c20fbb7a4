"""References to an object, also through tags, and tags of tags. Source: git, ref-filter.c."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing

from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths
from gitaly.git.reference_lines import Flags, reference_lines
from gitaly.git.tag_object import parse_tag
from gitaly.git.version import POINTS_AT_NESTED

_FIELDS = "--format=%(objectname) %(objecttype) %(refname)"


async def references_pointing_at(
    git: Git,
    repository: RepositoryPaths,
    revision: bytes,
    patterns: Sequence[bytes],
    *,
    sort_field: bytes = b"",
    count: int = 0,
) -> AsyncGenerator[list[bytes], None]:
    """Names, in batches. `sort_field`: as for-each-ref takes it; `count` 0: all.

    Raises GitFailed: "exit status 129" for what is no revision of an object.
    """
    flags: Flags = [("--sort", sort_field)] if sort_field else []
    ends = None
    if git.binary.version < POINTS_AT_NESTED:
        ends = await resolved(git, repository, [revision])
    if ends is None:
        flags += ["--format=%(refname)", ("--points-at", revision)]
        flags += [("--count", str(count))] if count else []
        async with aclosing(reference_lines(git, repository, flags, patterns)) as batches:
            async for names in batches:
                yield names
        return
    left = count or None
    async with aclosing(reference_lines(git, repository, [*flags, _FIELDS], patterns)) as batches:
        async for lines in batches:
            names = [line.split(b" ", 2)[2] for line in await _kept(git, repository, lines, ends)]
            yield names[:left]
            if left is not None:
                left -= min(left, len(names))
                if not left:
                    return


async def names_pointing_at(
    git: Git,
    repository: RepositoryPaths,
    ends: Collection[bytes],
    patterns: Sequence[bytes],
    *,
    ignores_case: bool = False,
) -> frozenset[bytes]:
    """All names below the patterns that lead to one of the object ids, for a git of old."""
    names: set[bytes] = set()
    flags: Flags = [_FIELDS, *(["--ignore-case"] if ignores_case else [])]
    async with aclosing(reference_lines(git, repository, flags, patterns)) as batches:
        async for lines in batches:
            kept = await _kept(git, repository, lines, ends)
            names.update(line.split(b" ", 2)[2] for line in kept)
    return frozenset(names)


async def resolved(
    git: Git, repository: RepositoryPaths, revisions: Sequence[bytes]
) -> frozenset[bytes] | None:
    """The object ids; None if one leads nowhere, or could be taken for an option."""
    ids = set()
    for revision in revisions:
        if revision.startswith(b"-") or not revision:
            return None
        done = await git.output(
            "rev-parse", repository=repository, flags=["--verify", "--quiet"], args=[revision]
        )
        if not done.exit:
            return None
        ids.add(done.stdout.strip())
    return frozenset(ids)


async def _kept(
    git: Git, repository: RepositoryPaths, lines: Sequence[bytes], ends: Collection[bytes]
) -> list[bytes]:
    """The lines `<id> <type> …` of which an end is the object itself or what it is a tag of."""
    fields = [line.split(b" ", 2)[:2] for line in lines]
    chains = await _targets(git, repository, {first for first, kind in fields if kind == b"tag"})
    kept = []
    for line, (first, _) in zip(lines, fields, strict=True):
        object_id: bytes | None = first
        while object_id is not None and object_id not in ends:
            object_id = chains.get(object_id)
        if object_id is not None:
            kept.append(line)
    return kept


async def _targets(
    git: Git, repository: RepositoryPaths, tags: Collection[bytes]
) -> Mapping[bytes, bytes]:
    """For each of the tags, and the tags that they lead to: what it is a tag of."""
    targets: dict[bytes, bytes] = {}
    asked = sorted(tags)
    while asked:
        written = b"".join(tag + b"\n" for tag in asked)
        done = await git.output("cat-file", repository=repository, flags=["--batch"], input=written)
        rest, asked = done.checked(), []
        while rest:
            header, _, rest = rest.partition(b"\n")
            object_id, _, size = header.split(b" ")
            tag = parse_tag(rest[: int(size)])
            rest = rest[int(size) + 1 :]
            targets[object_id] = tag.object_id
            if tag.object_type == b"tag" and tag.object_id not in targets:
                asked.append(tag.object_id)
    return targets
