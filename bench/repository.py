"""A repository with real-looking history: many small edits of text, packed with a bitmap."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

COMMITS = 50_000
FILES = 4_000
NEW_FILE_WORDS = 280  # about 1.5 KB packed: words of a vocabulary, not noise


def make_repository(
    path: Path, commits: int = COMMITS, *, words: int = NEW_FILE_WORDS, deltas: bool = True
) -> None:
    """Write a bare repository with git fast-import; takes some minutes, once.

    `words`: in each new file. Without `deltas` every clone has to compute them.
    """
    if (path / "made").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    importer = subprocess.Popen(
        ["git", "-C", str(path), "fast-import", "--quiet", "--depth=10"],
        stdin=subprocess.PIPE,
    )
    assert importer.stdin is not None
    for piece in _history(commits, words):
        importer.stdin.write(piece)
    importer.stdin.close()
    if importer.wait():
        raise SystemExit("git fast-import failed")
    run = ["git", "-C", str(path)]
    subprocess.run([*run, "commit-graph", "write", "--reachable", "--changed-paths"], check=True)
    subprocess.run(
        [
            *run,
            *("-c", "pack.threads=2"),
            *("repack", "-q", "-a", "-d"),
            *(["--write-bitmap-index"] if deltas else ["-F", "--depth=0"]),
        ],
        check=True,
    )
    subprocess.run([*run, "pack-refs", "--all"], check=True)
    (path / "made").touch()


def packed_bytes(path: Path) -> int:
    """The size of the packs."""
    return sum(pack.stat().st_size for pack in path.glob("objects/pack/*.pack"))


def _history(commits: int, new_file_words: int) -> Iterator[bytes]:
    """A fast-import stream: every commit edits two files and adds one, tags and branches apart."""
    chance = random.Random(18)  # the same history every time
    vocabulary = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz_", k=chance.randint(3, 11)))
        for _ in range(30_000)
    ]
    texts: dict[int, list[str]] = {}

    def lines(words: int) -> list[str]:
        drawn = chance.choices(vocabulary, k=words)
        return [" ".join(drawn[n : n + 9]) for n in range(0, words, 9)]

    for number in range(commits):
        message = f"Change {number}: {' '.join(chance.choices(vocabulary, k=8))}\n".encode()
        stamp = 1_500_000_000 + number * 600
        yield b"commit refs/heads/main\nmark :%d\n" % (number + 1)
        yield b"committer Ada Lovelace <ada@example.com> %d +0000\n" % stamp
        yield b"data %d\n%s" % (len(message), message)
        new = number % (FILES * 8)
        texts[new % FILES] = lines(new_file_words)
        edited = {new}
        for _ in range(2):
            name = chance.randrange(min(number + 1, FILES))
            if name in texts:
                place = chance.randrange(len(texts[name]))
                texts[name][place] = " ".join(chance.choices(vocabulary, k=9))
                edited.add(name)
        for name in edited:
            text = "\n".join(texts[name % FILES]).encode() + b"\n"
            directory = b"src/%02d/%02d" % (name % 40, name // 40 % 50)
            yield b"M 100644 inline %s/file%05d.txt\n" % (directory, name)
            yield b"data %d\n%s\n" % (len(text), text)
        if number % 500 == 499:
            yield b"reset refs/tags/v%d\nfrom :%d\n" % (number // 500, number + 1)
        if number % 1000 == 999:
            yield b"reset refs/heads/topic-%d\nfrom :%d\n" % (number // 1000, number + 1)


def bench_directory() -> Path:
    """Where repositories of the benchmark stay between runs: BENCH_DIR, else var/bench."""
    return Path(os.environ.get("BENCH_DIR", "var/bench")).resolve()
