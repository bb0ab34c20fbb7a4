"""The repository that reads are measured on: many references, over the objects of a long history.

That is longer and larger than the one that is cloned: 80,000 commits, 500 MB. Its objects come by
alternates; the repository's own are the annotated tags and one commit with a wide directory and a
large file.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.repository import make_repository

HISTORY = "long.git"
COMMITS = 80_000
NEW_FILE_WORDS = 340
BRANCHES, TAGS = 3_000, 1_000
WIDE_ENTRIES = 500
LARGE_FILE_BYTES = 30 * 1024


def make_reads_repository(path: Path) -> None:
    """Write a bare repository, and beside it the history whose branch `main` it shares; once."""
    if (path / "made").exists():
        return
    history = path.with_name(HISTORY)
    make_repository(history, COMMITS, words=NEW_FILE_WORDS)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    objects = os.path.relpath(history / "objects", path / "objects")
    (path / "objects/info/alternates").write_text(f"{objects}\n")
    listed = subprocess.run(
        ["git", "-C", str(history), "rev-list", f"--max-count={BRANCHES}", "main"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        ["git", "-C", str(path), "fast-import", "--quiet"],
        input=b"".join(_changes(listed.stdout.split())),
        check=True,
    )
    subprocess.run(["git", "-C", str(path), "pack-refs", "--all"], check=True)
    (path / "made").touch()


def _changes(commits: list[bytes]) -> Iterator[bytes]:
    """A fast-import stream. Every branch and every tag points to a commit of its own."""
    yield b"reset refs/heads/main\nfrom %s\n" % commits[0]
    for number, commit in enumerate(commits[1:]):
        yield b"reset refs/heads/team-%d/topic-%d\nfrom %s\n" % (number % 30, number, commit)
    for number, commit in enumerate(commits[:TAGS]):
        message = b"Release %d\n" % number
        yield b"tag v1.%d\nfrom %s\n" % (number, commit)
        yield b"tagger Ada Lovelace <ada@example.com> %d +0000\n" % (1_600_000_000 + number)
        yield b"data %d\n%s" % (len(message), message)
    yield b"commit refs/heads/wide\n"
    yield b"committer Ada Lovelace <ada@example.com> 1600000000 +0000\ndata 5\nwide\n"
    yield b"from %s\n" % commits[0]
    line = b"A line of a large file, as long as lines of programs are.\n"
    large = (line * (LARGE_FILE_BYTES // len(line) + 1))[:LARGE_FILE_BYTES]
    yield b"M 100644 inline large.txt\ndata %d\n%s\n" % (len(large), large)
    for number in range(WIDE_ENTRIES):
        text = b"%d\n" % number
        yield b"M 100644 inline wide/entry%03d.txt\ndata %d\n%s\n" % (number, len(text), text)
