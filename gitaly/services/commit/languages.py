"""CommitLanguages: which languages a commit's files are written in."""

import struct

from gitaly._pb.commit_pb2 import CommitLanguagesRequest, CommitLanguagesResponse
from gitaly.errors import Internal, prefixed
from gitaly.git import RepositoryPaths
from gitaly.rpc import Call
from gitaly.services.commit.reading import CommitReading
from gitaly.services.revisions import check_revision


class CommitLanguages(CommitReading):
    """Statistics of languages."""

    async def CommitLanguages(
        self, request: CommitLanguagesRequest, _: Call
    ) -> CommitLanguagesResponse:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision, may_be_empty=True)
        revision = request.revision or await self._references.default_branch(repository)
        with prefixed("looking up revision"):
            commit_id = await self._looked_up(repository, revision)
        with prefixed("language stats"):
            counts = await self._languages.totals(repository, commit_id)
        languages = await self._languages.languages()
        total = _float32(sum(counts.values()))
        answer = CommitLanguagesResponse()
        for name, size in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            language = languages.get(name)
            if language is None:
                raise Internal(
                    f"linguist language_id fetch: linguist language_id not found: {name}"
                )
            answer.languages.add(
                name=name,
                share=_float32(100 * size) / total,
                color=languages.color(name),
                language_id=language.id,
                bytes=size,
            )
        return answer

    async def _looked_up(self, repository: RepositoryPaths, revision: bytes) -> str:
        """As rev-parse says; of a branch and a tag of one name, here the branch is meant."""
        object_id, is_ambiguous = await self._parsed(repository, revision)
        if not is_ambiguous:
            return object_id
        done = await self._git.output(
            "for-each-ref",
            repository=repository,
            flags=["--format=%(refname)"],
            args=[b"**/" + revision],
        )
        names = done.stdout.splitlines()
        branch = next((name for name in names if name.startswith(b"refs/heads")), None)
        if branch is None:
            raise Internal(f"branch {revision.decode(errors='replace')} not found")
        return (await self._parsed(repository, branch))[0]

    async def _parsed(self, repository: RepositoryPaths, revision: bytes) -> tuple[str, bool]:
        done = await self._git.output("rev-parse", repository=repository, args=[revision])
        if not done.exit:
            first = done.stderr.partition(b"\n")[0].decode(errors="replace")
            raise Internal(f"{done.exit}: {first}")
        is_ambiguous = done.stderr.endswith(b"refname '" + revision + b"' is ambiguous.\n")
        return done.stdout.decode(errors="replace").strip(), is_ambiguous


def _float32(number: int) -> float:
    """As a float of four bytes holds it."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded
