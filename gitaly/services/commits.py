"""Commits as messages. Source: Gitaly, internal/git/catfile/parse_commit.go."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gitaly._pb.shared_pb2 import NONE, PGP, SSH, X509, CommitAuthor, GitCommit, SignatureType
from gitaly.git import (
    NO_MAILMAP,
    Mailmap,
    Mailmaps,
    Object,
    Objects,
    RepositoryPaths,
    parse_commit,
    parse_identity,
)

KEPT_BYTES: Final = 10240  # of a message
_SIGNATURES: Final[Mapping[bytes, SignatureType]] = MappingProxyType(
    {
        b"-----BEGIN PGP SIGNATURE-----": PGP,
        b"-----BEGIN PGP MESSAGE-----": PGP,
        b"-----BEGIN SIGNED MESSAGE-----": X509,
        b"-----BEGIN SSH SIGNATURE-----": SSH,
    }
)


def git_commit(commit: Object, mailmap: Mailmap = NO_MAILMAP) -> GitCommit:
    """The message about a commit object. Its message is cut after 10 KiB, its length is told."""
    parsed = parse_commit(commit.data)
    message = parsed.message
    built = GitCommit(
        id=commit.object_id,
        tree_id=parsed.tree_id.decode(errors="replace"),
        parent_ids=[parent.decode(errors="replace") for parent in parsed.parent_ids],
        encoding=parsed.encoding.decode(errors="replace"),
        signature_type=signature_type(parsed.signature),
        subject=message.partition(b"\n")[0].rstrip(b"\r\n"),
        body=message[:KEPT_BYTES],
        body_size=len(message),
    )
    if parsed.author is not None:
        fill_author(built.author, mailmap.applied(parsed.author))
    if parsed.committer is not None:
        fill_author(built.committer, mailmap.applied(parsed.committer))
    return built


def fill_author(author: CommitAuthor, value: bytes) -> None:
    """Set the message from an `author`, `committer` or `tagger` line."""
    author.SetInParent()  # it is there, even if nothing can be read of it
    identity = parse_identity(value)
    author.name = identity.name
    if identity.email is not None:
        author.email = identity.email
    if identity.seconds is not None:
        author.date.seconds = identity.seconds
        author.date.SetInParent()
    if identity.timezone is not None:
        author.timezone = identity.timezone


def signature_type(signature: bytes | None) -> SignatureType:
    """By the first line of a signature; NONE for what is none."""
    if signature is None:
        return NONE
    return _SIGNATURES.get(signature.partition(b"\n")[0], NONE)


class Commits:
    """Reads commits and tells of them as messages, under the names that people want."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._mailmaps = Mailmaps(objects)

    async def mailmap(self, repository: RepositoryPaths) -> Mailmap:
        """The one by which people are named in this repository at the moment."""
        return await self._mailmaps.of(repository)

    async def find(self, repository: RepositoryPaths, revision: bytes) -> GitCommit | None:
        """The commit that a revision leads to, also through tags; None: there is none.

        Raises AmbiguousRevision, Internal.
        """
        found = await self._objects.read(repository, revision + b"^{commit}")
        if found is None:
            return None
        return git_commit(found, await self.mailmap(repository))

    async def find_many(
        self, repository: RepositoryPaths, revisions: Sequence[bytes], mailmap: Mailmap
    ) -> list[GitCommit | None]:
        """`find` of each, in order: a hundred at a time."""
        ids = [revision + b"^{commit}" for revision in revisions]
        return await self.read_many(repository, ids, mailmap)

    async def read_many(
        self, repository: RepositoryPaths, ids: Sequence[bytes], mailmap: Mailmap
    ) -> list[GitCommit | None]:
        """Commits by their object ids, as a walk finds them; None for what has gone."""
        found = await self._objects.read_many(repository, ids)
        return [None if one is None else git_commit(one, mailmap) for one in found]
