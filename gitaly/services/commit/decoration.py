"""What FindCommits tells of a commit beside the commit, and how it is read from `git log`."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from gitaly._pb.commit_pb2 import FindCommitsRequest
from gitaly._pb.shared_pb2 import CommitStatInfo, CommitTrailer, GitCommit
from gitaly.git import TRAILERS_FORMAT, parse_trailers
from gitaly.git.rev_list import Flags

_SHORT_STATS: Final = re.compile(
    rb" (\d+) files? changed(?:, (\d+) insertions?\(\+\))?(?:, (\d+) deletions?\(-\))?"
)
_ARROW: Final = b" -> "


@dataclass(slots=True)
class Record:
    """What `git log` says of one commit."""

    object_id: bytes
    references: bytes = b""
    trailers: bytes = b""
    short_stats: bytes = b""

    def decorate(self, commit: GitCommit) -> None:
        """Tell it in the message."""
        commit.trailers.extend(
            CommitTrailer(key=key, value=value) for key, value in parse_trailers(self.trailers)
        )
        commit.referenced_by.extend(parse_decoration(self.references))
        stats = parse_short_stats(self.short_stats)
        if stats is not None:
            commit.short_stats.CopyFrom(stats)


@dataclass(frozen=True, slots=True)
class LogFormat:
    r"""A line for each commit: `<id>[\x02<references>]\0<trailers>`, after it a line of statistics.

    Neither ids nor names of references hold \x02 or NUL, nor do unfolded trailers line feeds.
    """

    flags: Flags

    async def records(self, lines: AsyncIterator[list[bytes]]) -> AsyncIterator[list[Record]]:
        """The commits in what git writes, as they come."""
        last: Record | None = None  # its statistics may follow
        async for batch in lines:
            found = [] if last is None else [last]
            for line in batch:
                if line.startswith(b" ") and found:
                    found[-1].short_stats = line
                elif line:
                    head, _, trailers = line.partition(b"\0")
                    object_id, _, references = head.partition(b"\x02")
                    found.append(Record(object_id, references, trailers))
            last = found.pop() if found else None
            if found:
                yield found
        if last is not None:
            yield [last]


def log_format(request: FindCommitsRequest) -> LogFormat:
    """What git has to print for a request."""
    form = "--format=%H"
    flags: list[str | bytes] = []
    if request.include_referenced_by:
        form += "%x02%D"
        flags.append("--decorate=full")
        flags += [b"--decorate-refs=" + pattern for pattern in request.include_referenced_by]
    if request.trailers:
        form += f"%x00{TRAILERS_FORMAT}"
    if request.include_shortstat:
        flags.append("--shortstat")
    return LogFormat([form, *flags])


def parse_short_stats(line: bytes) -> CommitStatInfo | None:
    """None: git says nothing, because nothing changed or because it is a merge."""
    found = _SHORT_STATS.fullmatch(line)
    if found is None:
        return None
    files, additions, deletions = (int(number or 0) for number in found.groups())
    return CommitStatInfo(changed_files=files, additions=additions, deletions=deletions)


def parse_decoration(printed: bytes) -> list[bytes]:
    """The names in `HEAD -> refs/heads/main, tag: refs/tags/v1`, in this order."""
    names: list[bytes] = []
    for name in printed.split(b", "):
        if name:
            names += name.removeprefix(b"tag: ").split(_ARROW, 1)
    return names
