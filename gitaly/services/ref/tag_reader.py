"""Tags as messages, with the commits that lie under them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gitaly._pb.shared_pb2 import GitCommit, Tag
from gitaly.errors import Internal, prefixed
from gitaly.git import ListedReference, Mailmap, Object, Objects, RepositoryPaths, parse_tag
from gitaly.services.commits import git_commit
from gitaly.services.tags import annotated_tag, lightweight_tag

PREFIX: Final = b"refs/tags/"


class TagReader:
    """Reads tags of one repository. Errors are in Gitaly's words."""

    def __init__(self, objects: Objects, repository: RepositoryPaths, mailmap: Mailmap) -> None:
        self._objects = objects
        self._repository = repository
        self._mailmap = mailmap

    async def many(self, references: Sequence[ListedReference]) -> list[Tag]:
        """The messages about what references lead to. Raises Internal if anything is missing."""
        targets = [one.target.encode() for one in references]
        infos = await self._objects.infos(self._repository, targets)
        kinds = {info.object_id: info.type for info in infos if info is not None}
        read = await self._read(i for i, kind in kinds.items() if kind in ("tag", "commit"))
        commits = await self._peeled([one for one in read.values() if one.type == "tag"])
        commits |= {
            one.object_id: git_commit(one, self._mailmap)
            for one in read.values()
            if one.type == "commit"
        }
        tags = []
        for reference in references:
            name, target = reference.name.removeprefix(PREFIX), reference.target
            commit = commits.get(target)
            if target not in kinds:
                raise Internal("object not found")
            if kinds[target] == "tag":
                tags.append(
                    annotated_tag(read[target], name=name, target=commit, mailmap=self._mailmap)
                )
            else:
                tags.append(lightweight_tag(name, target, commit))
        return tags

    async def one(self, reference: ListedReference) -> Tag:
        """The message about a tag that somebody named. Raises Internal if anything is missing."""
        found = await self._objects.info(self._repository, reference.target.encode())
        if found is None or found.type != "tag":
            return (await self.many([reference]))[0]
        tag = (await self._read([found.object_id]))[found.object_id]
        with prefixed("getting annotated tag"):
            commit = await self.commit_under(tag)
        name = reference.name.removeprefix(PREFIX)
        return annotated_tag(tag, name=name, target=commit, mailmap=self._mailmap)

    async def commit_under(self, tag: Object) -> GitCommit | None:
        """The commit that a tag leads to in the end; None if it leads to something else."""
        parsed = parse_tag(tag.data)
        if parsed.object_type == b"commit":
            revision = parsed.object_id + b"^{commit}"
            commit = await self._objects.read(self._repository, revision)
            if commit is None:
                raise Internal(
                    "buildAnnotatedTag error when getting target commit: object not found"
                )
            return git_commit(commit, self._mailmap)
        if parsed.object_type != b"tag":
            return None
        info = await self._objects.info(self._repository, parsed.object_id + b"^{}")
        if info is None:
            raise Internal(
                "buildAnnotatedTag error when dereferencing tag: peeling tag: object not found"
            )
        if info.type != "commit":
            return None
        return git_commit((await self._read([info.object_id]))[info.object_id], self._mailmap)

    async def _peeled(self, tags: Sequence[Object]) -> dict[str, GitCommit]:
        """The commits under tags, by the tags' ids."""
        revisions = [_end(tag) for tag in tags]
        infos = await self._objects.infos(self._repository, revisions)
        if None in infos:
            raise Internal("object not found")
        ends = {
            tag.object_id: info.object_id
            for tag, info in zip(tags, infos, strict=True)
            if info is not None and info.type == "commit"
        }
        read = await self._read(set(ends.values()))
        built = {one.object_id: git_commit(one, self._mailmap) for one in read.values()}
        return {tag: built[commit] for tag, commit in ends.items()}

    async def _read(self, ids: Iterable[str]) -> Mapping[str, Object]:
        names = [object_id.encode() for object_id in ids]
        found = await self._objects.read_many(self._repository, names)
        if None in found:
            raise Internal("object not found")
        return {one.object_id: one for one in found if one is not None}


def _end(tag: Object) -> bytes:
    """A revision for what lies under all tags."""
    parsed = parse_tag(tag.data)
    return parsed.object_id if parsed.object_type != b"tag" else parsed.object_id + b"^{}"
