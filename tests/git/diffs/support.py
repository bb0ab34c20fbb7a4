"""A repository with one of everything that a diff can show, and a plain reader of git's output."""

import subprocess
from dataclasses import dataclass, field

from gitaly.git.diffs import Event, FileDiff, PatchText
from tests.git.support import ENV, GIT, Bare

LEFT: dict[bytes, tuple[str, bytes]] = {
    b"a/deep/er.txt": ("100644", b"one\ntwo\nthree\n"),
    b"binary": ("100644", b"a\0b"),
    b"deleted": ("100644", b"-- gone\n++ too\n"),
    b"dash dash": ("100644", b"--- a/x\n+++ b/x\n@@ -1 +1 @@\nkept\n"),
    b"link": ("120000", b"a/deep"),
    b"mode": ("100644", b"#!/bin/sh\n"),
    b"moved from": ("100644", b"".join(b"line %d\n" % n for n in range(40))),
    b"no end": ("100644", b"no line feed"),
    b"odd \xff\ttab": ("100644", b"odd\n"),
    b"type": ("100644", b"was a file\n"),
    b"white": ("100644", b"a b\n"),
    b"x b/y": ("100644", b"old\n"),
}
RIGHT: dict[bytes, tuple[str, bytes]] = {
    b"a/deep/er.txt": ("100644", b"one\n2\nthree\ndiff --git a/a/deep/er.txt b/a/deep/er.txt\n"),
    b"added": ("100644", b"+ added\n- not removed\r\n\n"),
    b"added empty": ("100644", b""),
    b"binary": ("100644", b"a\0c"),
    b"dash dash": ("100644", b"-- a/x\n++ b/x\n@ -1 +1 @@\nkept\n"),
    b"link": ("120000", b"a/other"),
    b"long": ("100644", b"x" * 5000 + b"\n" + b"y" * 3000),
    b"mode": ("100755", b"#!/bin/sh\n"),
    b"moved to": ("100644", b"".join(b"line %d\n" % n for n in range(39)) + b"changed\n"),
    b"no end": ("100644", b"no line feed at all"),
    b"odd \xff\ttab": ("100644", b"odder\n"),
    b"type": ("120000", b"a link now"),
    b"white": ("100644", b"a  b\n"),
    b"x b/y": ("100644", b"new\n"),
}


def write_tree(repository: Bare, files: dict[bytes, tuple[str, bytes]]) -> str:
    """A commit of these files: mode and content by path."""
    stream = [
        b"reset refs/heads/new\n",
        b"commit refs/heads/new\ncommitter J <j@example.com> 1700000000 +0000\ndata 0\n",
    ]
    for path, (mode, content) in files.items():
        quoted = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
        stream += [b"M %b inline %b\ndata %d\n" % (mode.encode(), quoted, len(content))]
        stream += [content, b"\n"]
    subprocess.run(
        [*GIT, "--git-dir", repository.path, "fast-import", "--quiet", "--force"],
        input=b"".join(stream),
        env=ENV,
        check=True,
        capture_output=True,
    )
    return repository.git("rev-parse", "refs/heads/new")


def git_output(repository: Bare, *args: str) -> bytes:
    """What git prints, uncut."""
    return subprocess.run(
        ["git", "--git-dir", repository.path, *args], env=ENV, check=True, capture_output=True
    ).stdout


def raw_and_patches(repository: Bare, left: str, right: str, *flags: str) -> bytes:
    """What the parser reads."""
    return git_output(
        *(repository, "diff", "--raw", "--patch", "--full-index", "--abbrev=64"),
        *("--find-renames=30%", *flags, left, right),
    )


@dataclass
class Patch:
    """What a file's part of the output says."""

    text: bytes = b""
    added: int = 0
    removed: int = 0
    lines: int = 0
    octets: int = 0
    headers: list[bytes] = field(default_factory=list)


def plain_patches(output: bytes) -> list[Patch]:
    """Every "diff --git" of the output, read line by line."""
    patches: list[Patch] = []
    for line in output.partition(b"\n\n")[2].split(b"\n")[:-1]:
        if line.startswith(b"diff --git "):
            patches.append(Patch())
            continue
        patch = patches[-1]
        if not patch.text and not line.startswith((b"@@", b"Binary files ")):
            patch.headers.append(line)
            continue
        patch.text += line + b"\n"
        if line.startswith(b"@@"):
            continue
        patch.lines += 1
        patch.octets += len(line) + 1
        patch.added += line.startswith(b"+")
        patch.removed += line.startswith(b"-")
    return patches


def files_of(events: list[Event]) -> list[FileDiff]:
    """Files whose patches are in one piece, however they came."""
    files: list[FileDiff] = []
    pieces: list[bytes] = []
    for event in events:
        if isinstance(event, PatchText):
            pieces.append(event.data)
            continue
        text = b"".join(pieces) if event.in_pieces and not event.is_pruned else event.patch
        pieces = []
        files.append(whole(event, text))
    return files


def whole(file: FileDiff, text: bytes) -> FileDiff:
    return FileDiff(
        *(file.entry, file.has_patch, text, file.patch_bytes, False, file.is_pruned, file.binary),
        *(file.collapsed, file.too_large, file.overflow, file.lines_added, file.lines_removed),
    )
