"""What the file system below a storage is, and how full."""

import ctypes
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

UNKNOWN: Final = "unknown"
# The names that Gitaly gives to what statfs(2) tells. Source: internal/helper/fstype.
_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x9123683E: "BTRFS",
        0xFE534D42: "CIFS_NUMBER",  # of SMB2 and later; Gitaly has no name for it
        0xFF534D42: "CIFS_NUMBER",
        0xF15F: "ECRYPTFS",
        0xEF53: "EXT_2_3_4",
        0xF2F52010: "F2FS",
        0x65735546: "FUSE",
        0x3153464A: "JFS",
        0x6969: "NFS",
        0x3434: "NILFS",
        0x7461636F: "OCFS2",
        0x794C7630: "OVERLAYFS",
        0x858458F6: "RAMFS",
        0x52654973: "REISERFS",
        0x517B: "SMB",
        0x73717368: "SQUASHFS",
        0x01021994: "TMPFS",
        0x01021997: "V9FS",
        0x58465342: "XFS",
    }
)
# What an operator should know who has put repositories there.
_CONCERNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("NFS", "CIFS_NUMBER", "SMB", "V9FS"),
            "locks and renames of git are not safe there, and calls hang while its server is away",
        ),
        "FUSE": "a program serves it: git is slow there, and calls hang while the program does",
        "OVERLAYFS": "it is the layer of a container, and goes with the container",
        **dict.fromkeys(("TMPFS", "RAMFS"), "it forgets everything at a reboot"),
    }
)
REMOTE: Final = frozenset({"NFS", "CIFS_NUMBER", "SMB", "V9FS"})
CAN_HANG: Final = REMOTE | {"FUSE"}  # somebody else answers, or does not
_STATFS_BYTES: Final = 512  # more than the structure has anywhere; f_type is its first word
_OWNER_READS: Final = stat.S_IRUSR | stat.S_IXUSR


@dataclass(frozen=True, slots=True)
class Access:
    """What the mode bits of a storage's directory promise its owner."""

    is_readable: bool
    is_writeable: bool


def access(path: str) -> Access:
    """Mode bits, not a trial: Praefect asks often. Neither, if the directory is not there."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return Access(False, False)
    return Access(mode & _OWNER_READS == _OWNER_READS, bool(mode & stat.S_IWUSR))


def file_system_name(path: str) -> str:
    """ "EXT_2_3_4", "XFS", …; "unknown" for rare ones, and if there is nothing at `path`."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    libc = ctypes.CDLL(None)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        return UNKNOWN
    kind = ctypes.c_ulong.from_buffer(buffer).value
    return _NAMES.get(kind, UNKNOWN)


def concern(name: str) -> str:
    """Why a file system of that name is no good place for a storage; empty: nothing is known."""
    return _CONCERNS.get(name, "")


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a file system; both 0 if it cannot be asked."""

    available: int  # for users other than root
    used: int


def usage(path: str) -> Usage:
    """Of the file system that holds `path`."""
    try:
        status = os.statvfs(path)
    except OSError:
        return Usage(0, 0)
    size = status.f_frsize
    return Usage(status.f_bavail * size, (status.f_blocks - status.f_bfree) * size)
