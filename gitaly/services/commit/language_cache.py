"""The statistics of one commit that are kept in each repository, in the file that Gitaly writes.

Source: Gitaly, internal/gitaly/linguist/language_stats.go: zlib over JSON.
"""

import json
import os
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

FILE_NAME: Final = "gitaly-language.stats"
_VERSION: Final = "v3:gitaly"
_LARGEST_BYTES: Final = 256 << 20  # decompressed

Counts = dict[str, int]  # bytes by language


@dataclass(slots=True)
class Statistics:
    """How many bytes of which language each file of a commit has."""

    commit_id: str = ""
    by_file: dict[str, Counts] = field(default_factory=dict)

    @property
    def totals(self) -> Counts:
        """Of all files."""
        totals: Counts = {}
        for counts in self.by_file.values():
            for language, size in counts.items():
                totals[language] = totals.get(language, 0) + size
        return totals


def read_statistics(path: str) -> Statistics:
    """What is kept in the repository at this path; empty if nothing can be read. Blocks."""
    try:
        with open(os.path.join(path, FILE_NAME), "rb") as file:
            text = zlib.decompressobj().decompress(file.read(), _LARGEST_BYTES)
        data = json.loads(text)
        if data["version"] != _VERSION:
            return Statistics()
        by_file = {
            str(name): {str(language): int(size) for language, size in counts.items()}
            for name, counts in data["by_file"].items()
        }
        return Statistics(str(data["commit_id"]), by_file)
    except (OSError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return Statistics()


def write_statistics(path: str, statistics: Statistics) -> None:
    """Keep them in the repository, as a whole or not at all. Blocks. Raises OSError."""
    data = {
        "version": _VERSION,
        "commit_id": statistics.commit_id,
        "totals": statistics.totals,
        "by_file": statistics.by_file,
    }
    content = zlib.compress(json.dumps(data, separators=(",", ":")).encode())
    fd, temporary = tempfile.mkstemp(prefix=f"{FILE_NAME}-", dir=path)
    try:
        with open(fd, "wb") as file:
            file.write(content)
        os.replace(temporary, os.path.join(path, FILE_NAME))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
