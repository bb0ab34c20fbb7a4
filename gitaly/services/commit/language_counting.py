"""Counts the languages of a commit's files, of all of them or of those that have changed.

Source: Gitaly, internal/gitaly/linguist.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple

from gitaly.errors import Internal, prefixed
from gitaly.git import Git, GitFailed, ObjectInfo, Objects, file_attributes, git_lines
from gitaly.linguist import Detector, Languages, is_generated
from gitaly.services.commit.language_cache import (
    Counts,
    Statistics,
    read_statistics,
    write_statistics,
)
from gitaly.storage import Blocking, Repository, temporary_file

READ_BYTES: Final = 16 * 1024  # of each blob
TOGETHER: Final = 64  # blobs that are looked at together
_SUBMODULE: Final = b"160000"
_GITATTRIBUTES: Final = b".gitattributes"
_NAMES: Final = (
    "linguist-documentation",
    "linguist-detectable",
    "linguist-generated",
    "linguist-vendored",
    "linguist-language",
)
Attributes = Mapping[str, str]


class File(NamedTuple):
    """A file of a tree; without object id: it has gone."""

    path: bytes
    object_id: bytes | None


class LanguageCounter:
    """Knows the languages, and counts them."""

    def __init__(self, git: Git, objects: Objects, blocking: Blocking) -> None:
        self._git = git
        self._objects = objects
        self._blocking = blocking
        self._known: tuple[Languages, Detector] | None = None
        self._loading = asyncio.Lock()

    async def languages(self) -> Languages:
        """All there are. The first call takes 20 ms, in a thread."""
        return (await self._loaded())[0]

    async def totals(self, repository: Repository, commit_id: str) -> Counts:
        """Bytes by language; what was counted before is kept in the repository.

        It may be Gitaly's: if that knew a language that is unknown here, all is counted again.
        Raises Internal, GitFailed.
        """
        kept = await self._blocking.run(_read_known, repository.path, await self.languages())
        if kept.commit_id == commit_id:
            return kept.totals
        changed = await self._changed(repository, kept.commit_id, commit_id)
        if changed is None:
            kept.by_file.clear()
            changed = self._all_files(repository, commit_id)
        async with aclosing(changed):
            async for files in changed:
                await self._count(repository, commit_id, files, kept)
        kept.commit_id = commit_id
        try:
            await self._blocking.run(write_statistics, repository.path, kept)
        except OSError as error:
            raise Internal(f"write cached statistics: {error.strerror}") from error
        return kept.totals

    async def _loaded(self) -> tuple[Languages, Detector]:
        async with self._loading:
            if self._known is None:
                languages = await self._blocking.run(Languages.load)
                self._known = (languages, Detector(languages))
            return self._known

    async def _changed(
        self, repository: Repository, old: str, new: str
    ) -> AsyncGenerator[list[File], None] | None:
        """What is not as it was; None if all has to be counted again."""
        if not old:
            return None
        try:
            async with aclosing(self._differences(repository, old, new)) as batches:
                files = [file async for batch in batches for file in batch]
        except GitFailed:  # the commit that was counted has gone
            return None
        if any(file.path.rpartition(b"/")[2] == _GITATTRIBUTES for file in files):
            return None
        return _batch(files)

    async def _differences(
        self, repository: Repository, old: str, new: str
    ) -> AsyncGenerator[list[File], None]:
        flags = ["-r", "-z", "--raw", "--no-renames", "--ignore-submodules"]
        args = [f"{old}^{{commit}}", new]
        records = git_lines(
            self._git, "diff-tree", repository, flags=flags, args=args, separator=b"\0"
        )
        about: list[bytes] | None = None
        async with aclosing(records):
            async for batch in records:
                files = []
                for record in batch:
                    if about is None:
                        about = record.split(b" ")
                    else:
                        is_gone = about[4][:1] == b"D" or about[1] == _SUBMODULE
                        files.append(File(record, None if is_gone else about[3]))
                        about = None
                yield files

    async def _all_files(
        self, repository: Repository, commit_id: str
    ) -> AsyncGenerator[list[File], None]:
        lines = git_lines(
            self._git,
            "ls-tree",
            repository,
            flags=["-z", "-r"],
            args=[commit_id],
            separator=b"\0",
        )
        with prefixed("linguist object iterator: ls-tree pipeline command"):
            async with aclosing(lines):
                async for batch in lines:
                    cut = (line.partition(b"\t") for line in batch)
                    yield [
                        File(path, about.split(b" ")[2])
                        for about, _, path in cut
                        if not about.startswith(_SUBMODULE)
                    ]

    async def _count(
        self, repository: Repository, commit_id: str, files: Sequence[File], kept: Statistics
    ) -> None:
        languages, _ = await self._loaded()
        attributes = await self._attributes(repository, commit_id, files)
        for file in files:
            kept.by_file.pop(_key(file.path), None)
        wanted = [
            file
            for file in files
            if file.object_id is not None
            and not _is_left_out(languages, file.path, attributes.get(_key(file.path), {}))
        ]
        for start in range(0, len(wanted), TOGETHER):
            some = wanted[start : start + TOGETHER]
            ids = [file.object_id for file in some if file.object_id is not None]
            infos = await self._objects.infos(repository, ids)
            for file, info in zip(some, infos, strict=True):
                if info is None or info.type != "blob" or not info.size:
                    continue
                language = await self._language(
                    repository, file.path, info, attributes.get(_key(file.path), {})
                )
                if language:
                    kept.by_file[_key(file.path)] = {language: info.size}

    async def _attributes(
        self, repository: Repository, commit_id: str, files: Sequence[File]
    ) -> dict[str, dict[str, str]]:
        paths = [_key(file.path) for file in files if file.object_id is not None]
        scratch = partial(temporary_file, self._blocking, repository.storage_path, "attributes")
        found: dict[str, dict[str, str]] = {}
        if not paths:
            return found
        for path, name, value in await file_attributes(
            self._git,
            repository,
            commit_id.encode(),
            names=_NAMES,
            paths=paths,
            scratch=scratch,
        ):
            found.setdefault(path, {})[name] = value
        return found

    async def _language(
        self, repository: Repository, path: bytes, info: ObjectInfo, attributes: Attributes
    ) -> str:
        """Of one file; empty if it does not count."""
        async with aclosing(self._objects.pieces(repository, info, READ_BYTES)) as pieces:
            content = b"".join([piece async for piece in pieces])
        languages, detector = await self._loaded()
        return await self._blocking.run(
            _counted_language, languages, detector, path, content, attributes
        )


def _read_known(path: str, languages: Languages) -> Statistics:
    """What is kept at this path; empty if it has languages that are unknown here. Blocks."""
    kept = read_statistics(path)
    names = {name for counts in kept.by_file.values() for name in counts}
    return kept if all(languages.get(name) is not None for name in names) else Statistics()


def _counted_language(
    languages: Languages, detector: Detector, path: bytes, content: bytes, attributes: Attributes
) -> str:
    if _said(attributes, "linguist-generated", lambda: is_generated(path, content)):
        return ""
    given = attributes.get("linguist-language")
    if given is not None:
        language = languages.name_of(given) or given
    else:
        language = detector.language(path, content)
    is_counted = _said(attributes, "linguist-detectable", lambda: languages.is_counted(language))
    return language if is_counted else ""


def _is_left_out(languages: Languages, path: bytes, attributes: Attributes) -> bool:
    return _said(
        attributes, "linguist-documentation", lambda: languages.is_documentation(path)
    ) or _said(attributes, "linguist-vendored", lambda: languages.is_vendored(path))


def _said(attributes: Attributes, name: str, otherwise: Callable[[], bool]) -> bool:
    """What an attribute says if it is just set or unset; any other value says nothing."""
    value = attributes.get(name)
    return value == "set" if value in ("set", "unset") else otherwise()


def _key(path: bytes) -> str:
    return path.decode(errors="replace")


async def _batch(files: list[File]) -> AsyncGenerator[list[File], None]:
    yield files
