"""Content for the repositories of these tests."""

import subprocess
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.git.support import ENV, GIT, Bare

T = TypeVar("T")


def commit_files(
    bare: Bare,
    files: Mapping[Any, bytes],  # by name, as str or bytes: a mapping's keys have one type
    ref: str = "refs/heads/main",
    parent: str = "",
) -> str:
    """A commit with exactly these files, at `ref`; its id. Modes are 100644."""
    parts = [f"commit {ref}\ncommitter Jane Doe <jane@example.com> 1700000000 +0000\n".encode()]
    parts.append(b"data 4\none\n\n")
    parts.append(f"from {parent}\n".encode() if parent else b"")
    parts.append(b"deleteall\n")
    for name, content in files.items():
        path = name.encode() if isinstance(name, str) else name
        quoted = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        parts.append(b'M 100644 inline "%s"\ndata %d\n%s\n' % (quoted, len(content), content))
    subprocess.run(
        [*GIT, "--git-dir", bare.path, "fast-import", "--quiet", "--force"],
        input=b"".join(parts),
        check=True,
        capture_output=True,
        env=ENV,
    )
    return bare.git("rev-parse", ref)


async def collected(responses: AsyncIterable[T]) -> list[T]:
    """All messages of a stream."""
    return [response async for response in responses]


async def joined(responses: AsyncIterable[Any], field: str = "data") -> bytes:
    """One field of all messages."""
    return b"".join([getattr(response, field) async for response in responses])


async def take_one(responses: Any) -> None:  # Any: an iterator that is a generator, too
    """One message of a stream, which is then left."""
    await anext(responses)
    await responses.aclose()


async def stream(*requests: T) -> AsyncIterator[T]:
    """Requests as a client streams them."""
    for request in requests:
        yield request


def sizes_of(responses: Iterable[Any], field: str = "data") -> list[int]:
    return [len(getattr(response, field)) for response in responses]


def lose_packs(bare: Bare) -> None:
    """Pack everything, and delete the packs."""
    bare.git("repack", "-adq")
    for file in Path(bare.path, "objects/pack").iterdir():
        file.unlink()


def damage_pack_indices(bare: Bare) -> None:
    """Pack everything, and change the last byte of the index, which is part of its checksum."""
    bare.git("repack", "-adq")
    for file in Path(bare.path, "objects/pack").glob("*.idx"):
        file.chmod(0o600)
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def written_by(*command: str, data: bytes = b"") -> bytes:
    """The output of a program."""
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout
