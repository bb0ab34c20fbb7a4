"""The output and the end of git's diff commands."""

from collections.abc import AsyncIterator, Sequence

from gitaly.errors import FailedPrecondition, Internal
from gitaly.git.diffs.patches import DiffParser, Event
from gitaly.git.diffs.raw import DiffUnreadable, RawEntry, parse_records
from gitaly.git.environment import one_of_many, quarantine_environment
from gitaly.git.exit_status import Exit
from gitaly.git.paths import RepositoryPaths
from gitaly.git.pipes import PipeReader
from gitaly.git.process import Child
from gitaly.git.transfer import ENOUGH_BYTES, MESSAGE_BYTES, PAUSE_SECONDS, PIECE_BYTES


async def parsed(child: Child, parser: DiffParser) -> AsyncIterator[list[Event]]:
    """What the parser makes of a child's output. Raises Internal for what it can't read."""
    stdout = enlarged(child)
    try:
        while not parser.is_done and (data := await stdout.read(PIECE_BYTES)):
            events = parser.receive(data)
            if events:
                yield events
            await _may_write_more(child, stdout, len(data))
        yield parser.finish()
    except DiffUnreadable as error:
        raise Internal(f"parse failure: {error}") from error


def with_objects(repository: RepositoryPaths, directory: str) -> dict[str, str]:
    """The environment in which git looks for objects there, too."""
    key = "GIT_ALTERNATE_OBJECT_DIRECTORIES"
    others = quarantine_environment(repository).get(key)
    added = one_of_many(directory)
    return {key: f"{others}:{added}" if others else added}


async def raw_entries(stdout: PipeReader) -> AsyncIterator[list[RawEntry]]:
    """Entries of a raw diff with -z. Records may be cut between batches: names follow their head.

    Raises DiffUnreadable.
    """
    kept: list[bytes] = []
    async for records in stdout.record_batches(b"\0"):
        kept += records
        complete = _complete(kept)
        yield [*parse_records(iter(kept[:complete]))]
        del kept[:complete]
    yield [*parse_records(iter(kept))]


def _complete(records: Sequence[bytes]) -> int:
    """How many of them belong to entries of which nothing is missing."""
    position = 0
    while position < len(records):
        status = records[position].rpartition(b" ")[2][:1]
        end = position + (3 if status in (b"R", b"C") else 2)
        if end > len(records):
            break
        position = end
    return position


async def pieces(child: Child) -> AsyncIterator[bytes]:
    """Everything that it writes, in pieces of at most 128 KiB."""
    stdout = enlarged(child)
    while piece := await stdout.read(MESSAGE_BYTES):
        yield piece
        await _may_write_more(child, stdout, len(piece))


async def _may_write_more(child: Child, stdout: PipeReader, size: int) -> None:
    """After a short piece: git writes 4 KiB at a time, and to wake up for each costs more than to
    read them. Not where they may fill the pipe."""
    if size < ENOUGH_BYTES and stdout.is_large:
        await child.pause(PAUSE_SECONDS)


def enlarged(child: Child) -> PipeReader:
    """The child's output, in a pipe that lets it work ahead."""
    assert child.stdout is not None
    child.stdout.enlarge()
    return child.stdout


def check_end(child: Child, how: Exit, words: str = "") -> None:
    """Raises FailedPrecondition with the exit, if it is not 0."""
    if not how:
        raise FailedPrecondition(f"{words}{how}", stderr=child.error_text.decode(errors="replace"))


async def succeeded(child: Child, words: str = "cmd: ") -> None:
    """Wait for the end. Raises Internal with the exit, if it is not 0."""
    how = await child.wait()
    if not how:
        raise Internal(f"{words}{how}", stderr=child.error_text.decode(errors="replace"))


def range_diff_exit(how: Exit) -> Exit:
    """Git before 2.40 passes an error on as -1."""
    return Exit(128) if how.code == 255 else how
