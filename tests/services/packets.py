"""What git says, made and read by hand."""

import re
from pathlib import Path
from typing import Final

from gitaly.transport.pktline import DELIM, FLUSH, encode
from tests.faults.nodes import run_git

UNKNOWN: Final = "1" * 40


def lines(*texts: str) -> bytes:
    """Packets; "" is a flush, "|" a delimiter."""
    special = {"": FLUSH, "|": DELIM}
    return b"".join(special.get(text) or encode(f"{text}\n".encode()) for text in texts)


def packets(data: bytes) -> list[bytes]:
    """What packets carry; b"" for a flush, a delimiter and the like."""
    found = []
    while data:
        size = int(data[:4], 16)
        found.append(data[4:size])
        data = data[max(size, 4) :]
    return found


def index_pack(directory: Path, output: bytes) -> int:
    """How many objects are in a pack at the end of the output; git finds no fault with it."""
    (directory / "out.pack").write_bytes(output[output.index(b"PACK") :])
    run_git("-C", str(directory), "index-pack", "--strict", "out.pack")
    listed = run_git("verify-pack", "--verbose", str(directory / "out.idx"))
    return len(re.findall(r"(?m)^[0-9a-f]{40} (commit|tree|blob|tag) ", listed))
