"""`python -m gitaly.cli.lfs_smudge`: the filter by which `git archive` gets files from LFS.

Git starts it with GITALY_LFS_SMUDGE_CONFIG in its environment: JSON with `gl_repository`, `gitlab`
(the table of the configuration) and `tls`. What GitLab does not give leaves the pointer in the
archive. Source: Gitaly, cmd/gitaly-lfs-smudge.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import Final

from gitaly.cli.lfs_smudge.pointer import pointed_to
from gitaly.cli.lfs_smudge.source import PIECE_BYTES, Source, Unavailable
from gitaly.transport.filter_process import FilterProcess, beginning, content, ending, refusal

ENVIRONMENT_KEY: Final = "GITALY_LFS_SMUDGE_CONFIG"


def smudged(source: Source, data: bytes) -> Iterator[bytes]:
    """The answer to git for one file."""
    object_id = pointed_to(data)
    pieces = None
    try:
        if object_id is not None:
            pieces = source.fetch(object_id)
    except Unavailable as error:
        _complain(f"LFS object {object_id}: {error}")
        yield refusal()
        return
    if object_id is not None and pieces is None:
        _complain(f"LFS object {object_id}: GitLab does not give it")
    yield beginning()
    is_whole = True
    try:
        for piece in pieces if pieces is not None else [data]:
            yield from content(piece)
    except Unavailable as error:
        _complain(f"LFS object {object_id}: {error}")
        is_whole = False
    yield ending(is_whole=is_whole)


def _complain(problem: str) -> None:
    """To git's standard error: for the node's log, and its cache of archives, which does not
    keep what git or this program complains of."""
    sys.stderr.write(f"gitaly-lfs-smudge: {problem}\n")
    sys.stderr.flush()


def main() -> None:
    """Talk to git until it hangs up."""
    source = Source(json.loads(os.environ[ENVIRONMENT_KEY]))
    process = FilterProcess()
    out = sys.stdout.buffer
    while data := os.read(sys.stdin.fileno(), PIECE_BYTES):
        out.writelines(process.receive(data))
        whole = process.take_content()
        if whole is not None:
            out.writelines(smudged(source, whole))
        out.flush()


if __name__ == "__main__":
    main()
