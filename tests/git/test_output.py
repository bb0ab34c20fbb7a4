import asyncio
import os
from pathlib import Path

from gitaly.git import DEVNULL, Git, output_pieces
from gitaly.git.pipes import PipeReader
from gitaly.git.transfer import MESSAGE_BYTES
from tests.git.support import bare


async def test_output_comes_in_pieces_no_larger_than_a_message() -> None:
    reading, writing = os.pipe()
    source = PipeReader(reading)
    data = os.urandom(3 * MESSAGE_BYTES + 1)

    def write() -> None:
        with open(writing, "wb") as pipe:
            pipe.write(data)

    writer = asyncio.create_task(asyncio.to_thread(write))
    pieces = [piece async for piece in output_pieces(source)]
    await writer
    source.close()
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= MESSAGE_BYTES
    assert all(pieces)


async def test_a_program_without_output_gives_no_piece(git: Git, tmp_path: Path) -> None:
    async with git.run("show-ref", repository=bare(tmp_path), stdin=DEVNULL) as child:
        assert child.stdout is not None
        assert [piece async for piece in output_pieces(child.stdout)] == []
