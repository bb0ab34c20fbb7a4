"""Revisions for a walk, from clients who may send any number of them.

The newest git reads them all from its standard input, pseudo-revisions like `--all` among them.
Before 2.42 these must be on the command line, where a `--not` does not reach the others.
"""

from dataclasses import dataclass
from typing import Final

from gitaly.errors import InvalidRequest
from gitaly.git.arguments import fit
from gitaly.git.version import PSEUDO_REVISIONS_ON_STDIN, GitBinary

LIMIT_BYTES: Final = 64 << 20  # git keeps what it reads here in memory, too
_NOT: Final = b"--not"


@dataclass(frozen=True, slots=True)
class RevisionInput:
    """How to say the revisions to a git that takes `--stdin`."""

    flags: tuple[bytes, ...]
    stdin: bytes


class RevisionLines:
    """Collects revisions, of which the caller has checked that none is an option."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, revision: bytes) -> None:
        """One more line. Raises InvalidRequest when they become too many."""
        self._size += len(revision) + 1
        if self._size > LIMIT_BYTES:
            raise InvalidRequest(f"revisions of more than {LIMIT_BYTES} bytes")
        self._lines.append(revision)

    def input_for(self, binary: GitBinary) -> RevisionInput:
        """For this git. Raises FailedPrecondition if only a newer one can be told this."""
        # Git's own reading ends at an empty line.
        lines = self._lines[: self._lines.index(b"")] if b"" in self._lines else self._lines
        if binary.version < PSEUDO_REVISIONS_ON_STDIN:
            return _separated(lines, binary)
        return RevisionInput((), _joined(lines))


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _separated(lines: list[bytes], binary: GitBinary) -> RevisionInput:
    """Pseudo-revisions to the command line; of the others, those after a `--not` turned round."""
    flags: list[bytes] = []
    ordinary: list[bytes] = []
    is_negated = False
    for line in lines:
        if line == _NOT:
            is_negated = not is_negated
        elif line.startswith(b"-"):
            flags += [_NOT, line, _NOT] if is_negated else [line]
        else:
            ordinary.append(_negated(line, binary) if is_negated else line)
    if not fit(flags):
        binary.require(PSEUDO_REVISIONS_ON_STDIN, "a walk from so many pseudo-revisions")
    return RevisionInput(tuple(flags), _joined(ordinary))


def _negated(revision: bytes, binary: GitBinary) -> bytes:
    if b"..." in revision:
        binary.require(PSEUDO_REVISIONS_ON_STDIN, "a symmetric difference after --not")
    if revision.startswith(b"^"):
        return revision[1:]
    start, dots, end = revision.partition(b"..")
    return end + dots + start if dots else b"^" + revision
