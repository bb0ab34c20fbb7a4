"""Counts and sizes of loose objects and packs. All of this blocks, and raises OSError."""

import os
import re
from dataclasses import dataclass, fields, replace
from typing import Final

from gitaly.storage.pack_files import Bitmap, MultiPackIndex, bitmap, multi_pack_index

_OBJECT_NAME: Final = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseObjects:
    """Files in the 256 directories of loose objects; sizes in bytes."""

    count: int = 0
    size: int = 0
    stale_count: int = 0  # of `count`: last written before the cutoff
    stale_size: int = 0
    garbage_count: int = 0  # names that no object has
    garbage_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packs:
    """Files in `objects/pack`; sizes in bytes."""

    count: int = 0
    size: int = 0
    reverse_index_count: int = 0
    cruft_count: int = 0  # of `count`: with .mtimes, and not to be kept
    cruft_size: int = 0
    keep_count: int = 0  # of `count`: with .keep
    keep_size: int = 0
    garbage_count: int = 0
    garbage_size: int = 0
    bitmap: Bitmap | None = None
    multi_pack_index: MultiPackIndex | None = None
    multi_pack_index_bitmap: Bitmap | None = None


def loose_objects(path: str, cutoff: float) -> LooseObjects:
    """Of the repository at `path`; stale is what was written before `cutoff` (epoch seconds)."""
    objects, stale, garbage = [], [], []
    for number in range(256):
        for entry in _entries(os.path.join(path, "objects", f"{number:02x}")):
            status = _status(entry)
            if status is None:
                continue
            if _OBJECT_NAME.fullmatch(entry.name) is None:
                garbage.append(status.st_size)
                continue
            objects.append(status.st_size)
            if status.st_mtime < cutoff:
                stale.append(status.st_size)
    return LooseObjects(
        count=len(objects),
        size=sum(objects),
        stale_count=len(stale),
        stale_size=sum(stale),
        garbage_count=len(garbage),
        garbage_size=sum(garbage),
    )


def packs(path: str) -> Packs:
    """Of the repository at `path`. Raises Internal for a file that is not what its name says."""
    entries = _entries(os.path.join(path, "objects/pack"))
    names = {entry.name for entry in entries}
    of_packs = {name for name in names if name.startswith("pack-")}
    sizes = {entry.name: _size(entry) for entry in entries}
    all_packs = {name for name in of_packs if name.endswith(".pack")}
    keep = {name for name in all_packs if f"{name[:-5]}.keep" in names}
    cruft = {name for name in all_packs - keep if f"{name[:-5]}.mtimes" in names}
    garbage = {name for name in names if not _is_known(name)}
    found = Packs(
        count=len(all_packs),
        size=sum(sizes[name] for name in all_packs),
        reverse_index_count=sum(name.endswith(".rev") for name in of_packs),
        cruft_count=len(cruft),
        cruft_size=sum(sizes[name] for name in cruft),
        keep_count=len(keep),
        keep_size=sum(sizes[name] for name in keep),
        garbage_count=len(garbage),
        garbage_size=sum(sizes[name] for name in garbage),
    )
    return _with_indices(found, os.path.join(path, "objects/pack"), names)


def _with_indices(found: Packs, directory: str, names: set[str]) -> Packs:
    for name in sorted(names):
        full = os.path.join(directory, name)
        if name.endswith(".bitmap") and name.startswith("pack-"):
            found = replace(found, bitmap=bitmap(full))
        elif name.endswith(".bitmap") and name.startswith("multi-pack-index-"):
            found = replace(found, multi_pack_index_bitmap=bitmap(full))
        elif name == "multi-pack-index":
            found = replace(found, multi_pack_index=multi_pack_index(full))
    return found


def add_loose_objects(member: LooseObjects, pool: LooseObjects) -> LooseObjects:
    """Those of a member and of its pool together."""
    return LooseObjects(**_summed(member, pool))


def add_packs(member: Packs, pool: Packs) -> Packs:
    """Those of a member and of its pool; indices over all packs are the pool's alone."""
    return Packs(
        **_summed(member, pool),
        bitmap=pool.bitmap,
        multi_pack_index=pool.multi_pack_index,
        multi_pack_index_bitmap=pool.multi_pack_index_bitmap,
    )


def _summed(one: LooseObjects | Packs, other: LooseObjects | Packs) -> dict[str, int]:
    return {
        field.name: getattr(one, field.name) + getattr(other, field.name)
        for field in fields(one)
        if isinstance(getattr(one, field.name), int)
    }


def _is_known(name: str) -> bool:
    if name.startswith("pack-"):
        return name.endswith((".pack", ".idx", ".keep", ".mtimes", ".rev", ".bitmap"))
    return name == "multi-pack-index" or (
        name.startswith("multi-pack-index-") and name.endswith(".bitmap")
    )


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # git was faster
        return None


def _size(entry: os.DirEntry[str]) -> int:
    status = _status(entry)
    return status.st_size if status is not None else 0
