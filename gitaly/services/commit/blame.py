"""RawBlame: what `git blame` prints, and its complaints as errors that clients understand.

Source: Gitaly, internal/gitaly/service/commit/raw_blame.go.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from gitaly._pb.commit_pb2 import RawBlameError, RawBlameRequest, RawBlameResponse
from gitaly._pb.errors_pb2 import PathNotFoundError
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.git import DEVNULL, PIPE, Child, ObjectInfo, RepositoryPaths
from gitaly.git.transfer import feeding
from gitaly.rpc import Call
from gitaly.services.commit.reading import CommitReading
from gitaly.services.messages import DATA_BYTES
from gitaly.services.revisions import check_revision
from gitaly.services.tree_paths import local_path

_RANGE: Final = re.compile(rb"[0-9]+,[0-9]+")
_NO_PATH: Final = b"fatal: no such path "
_NO_OBJECT: Final = b"fatal: invalid object name: "
_SHORT_FILE: Final = re.compile(rb"fatal: file .* has only ([0-9]+) lines?\n", re.DOTALL)


class Blame(CommitReading):
    """Who wrote which line."""

    async def RawBlame(self, request: RawBlameRequest, _: Call) -> AsyncIterator[RawBlameResponse]:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision)
        path = local_path(request.path)
        if request.range and _RANGE.fullmatch(request.range) is None:
            raise InvalidRequest("invalid Range")
        flags: list[str | tuple[str, bytes] | tuple[str, str]] = ["-p"]
        if request.range:
            flags.append(("-L", request.range))
        ignored = None
        if request.ignore_revisions_blob:
            ignored = await self._ignored(repository, request.ignore_revisions_blob)
            flags.append(("--ignore-revs-file", "/dev/stdin"))
        async with AsyncExitStack() as stack:
            child = await stack.enter_async_context(
                self._git.run(
                    "blame",
                    repository=repository,
                    flags=flags,
                    args=[request.revision],
                    after_separator=[path],
                    stdin=PIPE if ignored is not None else DEVNULL,
                )
            )
            if ignored is not None:
                pieces = self._objects.pieces(repository, ignored)
                await stack.enter_async_context(feeding(child, pieces))
            assert child.stdout is not None
            while piece := await child.stdout.read(DATA_BYTES):
                yield RawBlameResponse(data=piece)
            if not await child.wait():
                raise _blame_error(child, path)

    async def _ignored(self, repository: RepositoryPaths, revision: bytes) -> ObjectInfo:
        """The blob that names the commits to look through."""
        info = await self._objects.info(repository, revision)
        if info is not None and info.type == "blob":
            return info
        error: NodeError = InvalidRequest("ignore revision is not a blob")
        if info is None:
            error = NotFound("cannot resolve ignore-revs blob")
        resolve = RawBlameError.ResolveIgnoreRevsError(ignore_revisions_blob=revision)
        error.details = (RawBlameError(resolve_ignore_revs=resolve),)
        raise error


def _blame_error(child: Child, path: bytes) -> NodeError:
    stderr = child.error_text
    short = _SHORT_FILE.fullmatch(stderr)
    error: NodeError
    if stderr.startswith(_NO_PATH):
        error = NotFound("path not found in revision")
        error.details = (RawBlameError(path_not_found=PathNotFoundError(path=path)),)
    elif stderr.startswith(_NO_OBJECT):
        error = NotFound("invalid object name")
        content = stderr.removeprefix(_NO_OBJECT)
        invalid = RawBlameError.InvalidIgnoreRevsFormatError(content=content)
        error.details = (RawBlameError(invalid_ignore_revs_format=invalid),)
    elif short is not None:
        error = InvalidRequest("range is outside of the file length")
        lines = RawBlameError.OutOfRangeError(actual_lines=int(short[1]))
        error.details = (RawBlameError(out_of_range=lines),)
    else:
        error = Internal(f"blaming file: {child.exit}")
    error.metadata["stderr"] = stderr.decode(errors="replace")
    return error
