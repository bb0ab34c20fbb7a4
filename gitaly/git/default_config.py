"""The configuration that every git of ours gets, by subcommand.

Only the command line counts: the files of the host are switched off by the environment.
Source: Gitaly, internal/git/gitcmd/command_factory.go and command_description.go.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gitaly.git.version import MULTI_PACK_REUSE, GitVersion

Pairs = tuple[tuple[str, str], ...]

HIDDEN_FROM_FETCHES: Final = ("refs/keep-around/", "refs/remotes/", "refs/tmp/")
HIDDEN_FROM_PUSHES: Final = (
    *HIDDEN_FROM_FETCHES,
    "refs/environments/",
    "refs/merge-requests/",
    "refs/pipelines/",
)
EMPTY_TREE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    }
)
# Those that get `pack` below, and what the limits of a control group say about it.
PACKING: Final = frozenset(
    {
        "bundle",
        "clone",
        "fetch",
        "gc",
        "pack-objects",
        "receive-pack",
        "repack",
        "upload-pack",
    }
)
_NO_ALTERNATE_REFS: Final = (("core.alternateRefsCommand", "exit 0 #"),)
_NO_REDIRECTS: Final = (("http.followRedirects", "false"),)


def global_config(version: GitVersion) -> Pairs:
    """For every command."""
    return (
        ("gc.auto", "0"),
        ("maintenance.auto", "0"),
        ("core.autocrlf", "false"),
        ("core.useReplaceRefs", "false"),
        ("core.bigFileThreshold", "50m"),
        ("pack.allowPackReuse", "multi" if version >= MULTI_PACK_REUSE else "true"),
        ("midx.version", "1"),
        ("core.fsync", "objects,derived-metadata,reference"),
        ("core.fsyncMethod", "fsync"),
        ("core.packedRefsTimeout", "10000"),
        ("core.filesRefLockTimeout", "1000"),
    )


def subcommand_config(cpus: int) -> Callable[[str], Pairs]:
    """What is added for one subcommand, on a machine with so many processors."""
    threads = str(max(1, int(math.log2(max(1, cpus)))))
    table = _table(threads)
    return lambda subcommand: table.get(subcommand, ())


def _fsck(prefix: str) -> Pairs:
    return (
        ("transfer.fsckObjects", "true"),
        (f"{prefix}.badTimezone", "ignore"),
        (f"{prefix}.missingSpaceBeforeDate", "ignore"),
        (f"{prefix}.zeroPaddedFilemode", "ignore"),
    )


def _table(threads: str) -> Mapping[str, Pairs]:
    pack = (
        ("pack.windowMemory", "100m"),
        ("pack.writeReverseIndex", "true"),
        ("pack.threads", threads),
    )
    return MappingProxyType(
        {
            "upload-pack": (
                ("uploadpack.allowFilter", "true"),
                ("uploadpack.allowAnySHA1InWant", "true"),
                *(("uploadpack.hideRefs", prefix) for prefix in HIDDEN_FROM_FETCHES),
                *pack,
            ),
            "receive-pack": (
                *_NO_ALTERNATE_REFS,
                ("receive.advertisePushOptions", "true"),
                ("receive.autogc", "false"),
                *(("receive.hideRefs", prefix) for prefix in HIDDEN_FROM_PUSHES),
                *_fsck("receive.fsck"),
                *pack,
            ),
            "fetch": (
                *_NO_ALTERNATE_REFS,
                ("fetch.writeCommitGraph", "false"),
                *_NO_REDIRECTS,
                ("fetch.recurseSubmodules", "no"),
                *_fsck("fetch.fsck"),
                *pack,
            ),
            "clone": (
                ("init.templateDir", ""),
                *_NO_REDIRECTS,
                ("transfer.bundleURI", "true"),
                *pack,
                *_fsck("fetch.fsck"),
            ),
            # Told an object id, git would look for references of that name, to warn of them: half
            # a millisecond where there are thousands.
            "diff": (("core.warnAmbiguousRefs", "false"),),
            "init": (("init.defaultBranch", "main"), ("init.templateDir", "")),
            "repack": (
                ("repack.writeBitmaps", "true"),
                ("repack.updateServerInfo", "false"),
                *pack,
            ),
            "bundle": pack,
            "gc": pack,
            "pack-objects": pack,
            "fsck": _fsck("fsck"),
            "grep": (("grep.threads", threads),),
            "ls-remote": _NO_REDIRECTS,
            "push": _NO_REDIRECTS,
            "remote": _NO_REDIRECTS,
        }
    )
