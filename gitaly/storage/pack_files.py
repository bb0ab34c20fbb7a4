"""The headers of git's auxiliary files: bitmaps, multi-pack-index, commit-graphs.

Formats: gitformat-pack(5), gitformat-bitmap(5), gitformat-commit-graph(5). All of this blocks.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from gitaly.errors import Internal

_BITMAP: Final = struct.Struct(">4sHH")  # signature, version, flags
_MIDX: Final = struct.Struct(">4sBBBBI")  # signature, version, hash, chunks, bases, packs
_GRAPH: Final = struct.Struct(">4sBBBB")  # signature, version, hash, chunks, bases
_CHUNK_BYTES: Final = 12  # id and offset
_HASH_CACHE: Final = 0x4
_LOOKUP_TABLE: Final = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bitmap:
    """A reachability bitmap."""

    version: int
    has_hash_cache: bool
    has_lookup_table: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiPackIndex:
    """One index over several packs."""

    version: int
    pack_count: int
    has_large_offsets: bool
    has_bitmapped_packs: bool
    has_reverse_index: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitGraph:
    """The commit-graph, in one file or a chain of several."""

    chain_length: int  # 0: one file
    has_bloom_filters: bool
    has_generation_data: bool
    has_generation_data_overflow: bool


def bitmap(path: str) -> Bitmap:
    """Raises OSError, Internal."""
    with open(path, "rb") as file:
        signature, version, flags = _BITMAP.unpack(_exactly(file, _BITMAP.size, "bitmap"))
    if signature != b"BITM" or version != 1:
        raise Internal("reading bitmap info: unknown format")
    return Bitmap(
        version=version,
        has_hash_cache=bool(flags & _HASH_CACHE),
        has_lookup_table=bool(flags & _LOOKUP_TABLE),
    )


def multi_pack_index(path: str) -> MultiPackIndex:
    """Raises OSError, Internal."""
    with open(path, "rb") as file:
        header = _MIDX.unpack(_exactly(file, _MIDX.size, "multi-pack-index"))
        signature, version, _, chunk_count, base_count, pack_count = header
        if signature != b"MIDX" or version != 1 or base_count != 0:
            raise Internal("reading multi-pack-index: unknown format")
        chunks = _chunks(file, chunk_count, "multi-pack-index")
    return MultiPackIndex(
        version=version,
        pack_count=pack_count,
        has_large_offsets=b"LOFF" in chunks,
        has_bitmapped_packs=b"BTMP" in chunks,
        has_reverse_index=b"RIDX" in chunks,
    )


def commit_graph(path: str) -> CommitGraph | None:
    """Of the repository at `path`; None: it has none. Raises OSError, Internal."""
    info = os.path.join(path, "objects/info")
    try:
        with open(os.path.join(info, "commit-graphs/commit-graph-chain")) as file:
            ids = file.read().split()
        graphs = [os.path.join(info, f"commit-graphs/graph-{name}.graph") for name in ids]
    except FileNotFoundError:
        ids = []
        graphs = [os.path.join(info, "commit-graph")]
        if not os.path.exists(graphs[0]):
            return None
    chunks: set[bytes] = set()
    has_bloom_filters = False
    for graph in graphs:
        found = _graph_chunks(graph)
        has_bloom_filters |= {b"BIDX", b"BDAT"} <= found
        chunks |= found
    return CommitGraph(
        chain_length=len(ids),
        has_bloom_filters=has_bloom_filters,
        has_generation_data=b"GDA2" in chunks,
        has_generation_data_overflow=b"GDO2" in chunks,
    )


def _graph_chunks(path: str) -> set[bytes]:
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:  # rewritten in this moment
        return set()
    with file:
        header = _GRAPH.unpack(_exactly(file, _GRAPH.size, "commit-graph"))
        if header[:2] != (b"CGPH", 1):
            raise Internal("checking commit-graph info: unknown format")
        return _chunks(file, header[3], "commit-graph")


def _chunks(file: BinaryIO, count: int, what: str) -> set[bytes]:
    table = _exactly(file, count * _CHUNK_BYTES, what)
    return {table[at : at + 4] for at in range(0, len(table), _CHUNK_BYTES)}


def _exactly(file: BinaryIO, size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise Internal(f"reading {what}: file is too short")
    return data
