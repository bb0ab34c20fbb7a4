"""CommitDiff: changed files and their patches."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, TypedDict

from gitaly._pb.diff_pb2 import CommitDiffRequest
from gitaly.errors import prefixed
from gitaly.git.diffs import (
    Comparison,
    Diffs,
    Event,
    FileDiff,
    Limits,
    LineCounts,
    PatchOptions,
    PatchText,
    RawEntry,
)
from gitaly.services.commit_diff_messages import first_message, further_message, messages_of
from gitaly.services.patch_pieces import PatchSpool
from gitaly.storage import Blocking

RENAMES: Final = "30%"
NAMES_AT_ONCE: Final = 500  # paths on one command line
PIECES_AT_ONCE: Final = 32  # of 5 KiB
Key = tuple[bytes, str, str]


class Sides(TypedDict):
    """Before and after."""

    from_path: bytes
    to_path: bytes
    from_id: str
    to_id: str
    old_mode: int
    new_mode: int


def limits_of(request: CommitDiffRequest) -> Limits:
    """Within what Gitaly allows at most."""
    return Limits(
        enforce=request.enforce_limits,
        collapse=request.collapse_diffs,
        collect_all_paths=request.collect_all_paths,
        max_files=request.max_files,
        max_lines=request.max_lines,
        max_bytes=request.max_bytes,
        max_patch_bytes=request.max_patch_bytes,
        max_patch_bytes_of=dict(request.max_patch_bytes_for_file_extension),
        safe_max_files=request.safe_max_files,
        safe_max_lines=request.safe_max_lines,
        safe_max_bytes=request.safe_max_bytes,
    ).clamped()


def options_of(request: CommitDiffRequest) -> PatchOptions:
    """How git makes the patches."""
    spaces = request.whitespace_changes
    return PatchOptions(
        renames=RENAMES,
        ignore_all_space=spaces == CommitDiffRequest.WHITESPACE_CHANGES_IGNORE_ALL,
        ignore_space_change=spaces == CommitDiffRequest.WHITESPACE_CHANGES_IGNORE,
        word_diff=request.diff_mode == CommitDiffRequest.WORDDIFF,
        limits=limits_of(request),
    )


async def commit_diff(
    diffs: Diffs, blocking: Blocking, comparison: Comparison, options: PatchOptions
) -> AsyncGenerator[list[bytes], None]:
    """One encoded CommitDiffResponse or more for each file, in git's order; together what is at
    hand.

    Where white space is ignored, what differs in nothing else comes last, without a patch; so does
    each file that was not looked at because of the limits. Source: Gitaly,
    internal/gitaly/service/diff/commit_diff.go.
    """
    seen: set[Key] = set()
    with prefixed("eachDiff"):
        async with (
            aclosing(diffs.files(comparison, options)) as batches,
            PatchSpool(blocking) as spool,
        ):
            async for events in batches:
                if options.ignores_space:
                    seen |= _keys(events)
                async for responses in _told(events, spool):
                    yield responses
    if options.ignores_space:
        async for messages in _differing_in_space(diffs, comparison, seen):
            yield messages


async def _told(events: Sequence[Event], spool: PatchSpool) -> AsyncIterator[list[bytes]]:
    """What has been read at once; no list is empty."""
    ready: list[bytes] = []
    for event in events:
        if isinstance(event, PatchText):
            await spool.add(event.data)
            continue
        if event.in_pieces and not event.is_pruned:
            if ready:
                yield ready
            ready = []
            async for messages in _from_spool(event, spool):
                yield messages
            continue
        if event.in_pieces:
            spool.clear()
        ready += messages_of(event)
    if ready:
        yield ready


async def _from_spool(file: FileDiff, spool: PatchSpool) -> AsyncIterator[list[bytes]]:
    """A file whose patch is large."""
    ready: list[bytes] = []
    is_first = True
    async for piece, is_last in spool.pieces():
        if is_first:
            ready.append(first_message(file, piece, is_last=is_last))
        else:
            ready.append(further_message(piece, is_last=is_last))
        is_first = False
        if len(ready) == PIECES_AT_ONCE:
            yield ready
            ready = []
    if ready:
        yield ready


def sides_of(entry: RawEntry) -> Sides:
    """What both messages about a changed file say of its two sides."""
    return {
        "from_path": entry.old_path,
        "to_path": entry.new_path,
        "from_id": entry.old_id,
        "to_id": entry.new_id,
        "old_mode": entry.old_mode,
        "new_mode": entry.new_mode,
    }


def _keys(events: Sequence[Event]) -> set[Key]:
    files = [event for event in events if isinstance(event, FileDiff)]
    return {_key(file.entry) for file in files if file.entry is not None}


def _key(entry: RawEntry) -> Key:
    return entry.new_path, entry.old_id, entry.new_id


async def _differing_in_space(
    diffs: Diffs, comparison: Comparison, seen: set[Key]
) -> AsyncIterator[list[bytes]]:
    async with aclosing(diffs.tree_entries(comparison, f"--find-renames={RENAMES}")) as batches:
        async for batch in batches:
            missing = [entry for entry in batch if _key(entry) not in seen]
            for start in range(0, len(missing), NAMES_AT_ONCE):
                some = missing[start : start + NAMES_AT_ONCE]
                counts = await _line_counts(diffs, comparison, some)
                yield [_without_patch(entry, counts.get(entry.new_path)) for entry in some]


async def _line_counts(
    diffs: Diffs, comparison: Comparison, entries: Sequence[RawEntry]
) -> dict[bytes, LineCounts]:
    names = Comparison(
        repository=comparison.repository,
        old=comparison.old,
        new=comparison.new,
        paths=[entry.new_path for entry in entries],
        literal_paths=True,
    )
    with prefixed("numstat"):
        async with aclosing(diffs.line_counts(names)) as batches:
            return {counts.path: counts async for batch in batches for counts in batch}


def _without_patch(entry: RawEntry, counts: LineCounts | None) -> bytes:
    file = FileDiff(
        entry._replace(old_path=entry.new_path),
        lines_added=counts.additions if counts else 0,
        lines_removed=counts.deletions if counts else 0,
    )
    return first_message(file, b"", is_last=True)
