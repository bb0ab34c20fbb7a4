"""FindLicense: the licence of a project, by the files in the root of its HEAD."""

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Final

from cachetools import LRUCache

from gitaly._pb.repository_pb2 import FindLicenseRequest, FindLicenseResponse
from gitaly.errors import Internal, prefixed
from gitaly.git import ID_DIGITS, Formats, Objects, parse_tree
from gitaly.rpc import Call
from gitaly.services.repository.licenses import (
    OTHER,
    License,
    LicenseMatcher,
    Match,
    is_canonical,
    is_license_file,
)
from gitaly.services.tree_paths import clean_path, leaves_its_root
from gitaly.storage import Blocking, Repository, Storages

CACHED: Final = 100
POINTER_BYTES: Final = 128  # something shorter is the name of the file that holds the licence
LARGEST_BYTES: Final = 1 << 20  # no licence is longer
_NO_TREE: Final = r'ls-tree failed: exit status 128, stderr: "fatal: not a tree object\n"'


class LicenseServicer:
    """Recognises licences. Remembers the answers for the commits that were asked for last."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(
        self, storages: Storages, *, objects: Objects, formats: Formats, blocking: Blocking
    ) -> None:
        self._storages = storages
        self._objects = objects
        self._formats = formats
        self._blocking = blocking
        self._known: LRUCache[tuple[str, str], FindLicenseResponse] = LRUCache(CACHED)

    @cached_property
    def _matcher(self) -> LicenseMatcher:
        return LicenseMatcher()

    async def FindLicense(self, request: FindLicenseRequest, _: Call) -> FindLicenseResponse:
        repository = self._storages.existing(request.repository)
        with prefixed("cannot find HEAD revision"):
            head = await self._objects.resolve(repository, b"HEAD")
        if head is None:
            return FindLicenseResponse()
        key = (repository.path, head)
        known = self._known.get(key)
        if known is not None:
            return known
        with prefixed("detect licenses"):
            response = await self._found(repository, head)
        if not repository.git_object_directory:  # what a quarantine hides, others see
            self._known[key] = response
        return response

    async def _found(self, repository: Repository, commit: str) -> FindLicenseResponse:
        first = b""
        matches: list[tuple[bool, tuple[float, int, str], bytes, License]] = []
        async for path, read_as, text in self._texts(repository, commit):
            first = first or path
            match = await self._blocking.run(self._best, text)
            if match is not None:
                matches.append((not is_canonical(read_as), match.rank, read_as, match.license))
        if matches:
            *_, path, license_ = min(matches)
            return _response(license_, path)
        return _response(OTHER, first) if first else FindLicenseResponse()

    def _best(self, text: bytes) -> Match | None:
        return self._matcher.best(text.decode(errors="replace"))

    async def _texts(
        self, repository: Repository, commit: str
    ) -> AsyncIterator[tuple[bytes, bytes, bytes]]:
        """Of each file in the root that may hold a licence: its path, the path of the text that
        it leads to (as a rule the same), and the text."""
        root = await self._objects.read(repository, f"{commit}^{{tree}}".encode())
        if root is None:
            raise Internal(_NO_TREE)
        form = self._formats.of(repository.path)
        for entry in parse_tree(root.data, ID_DIGITS[form.object_format] // 2):
            if entry.type != "blob" or not is_license_file(entry.name):
                continue
            text = await self._blob(repository, entry.object_id.encode())
            if text is None:
                continue
            path = entry.name
            name = clean_path(text.strip())
            if len(text) < POINTER_BYTES and _is_inside(name):
                other = await self._blob(repository, f"{commit}:".encode() + name)
                if other is not None:
                    path, text = name, other
            yield entry.name, path, text

    async def _blob(self, repository: Repository, revision: bytes) -> bytes | None:
        info = await self._objects.info(repository, revision)
        if info is None or info.type != "blob":
            return None
        if info.size > LARGEST_BYTES:
            return b""
        found = await self._objects.read(repository, info.object_id.encode())
        return None if found is None else found.data


def _is_inside(path: bytes) -> bool:
    """Git dies of others."""
    return not path.startswith(b"/") and not leaves_its_root(path) and b"\0" not in path


def _response(license_: License, path: bytes) -> FindLicenseResponse:
    return FindLicenseResponse(
        license_short_name=license_.short_name,
        license_name=license_.name,
        license_url=license_.url,
        license_path=path.decode(errors="replace"),
        license_nickname=license_.nickname,
    )
