"""Requests of every read, made from what a repository has."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from gitaly._pb.shared_pb2 import Repository
from gitaly.rpc import Method, node_services

READS: Final = (
    "AnalysisService",
    "BlobService",
    "CommitService",
    "DiffService",
    "RefService",
    "RepositoryService",
)
CACHED_READS: Final = frozenset({"CommitLanguages"})  # a mutator, by the contract
# Their answers depend on the moment, on how objects lie on the disk, or on where the node is; or
# they write, into a store of backups.
NOT_COMPARED: Final = frozenset(
    {
        "BackupRepository",
        "GenerateBundleURI",
        "GetObjectDirectorySize",
        "GetSnapshot",
        "RepositoryInfo",
        "RepositorySize",
        "BackupCustomHooks",
        "GetCustomHooks",
    }
)
WRONG: Final = "0123456789abcdef0123456789abcdef01234567"
PATCHES: Final = 50  # commits that a diff is about
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """A call with its one request."""

    method: Method
    request: Message

    def __str__(self) -> str:
        fields = str(self.request).replace("\n", " ")
        return f"{self.method.path} {fields[:300]}"


def compared_methods() -> dict[str, Method]:
    """Every read that is compared, by its name."""
    return {
        method.name: method
        for service, methods in node_services().items()
        if service.removeprefix("gitaly.") in READS
        for method in methods
        if (method.operation == "accessor" or method.name in CACHED_READS)
        and method.name not in NOT_COMPARED
    }


def questions(path: Path, relative_path: str) -> list[Question]:
    """For each read some, about one repository."""
    methods = compared_methods()
    repository = Repository(storage_name="default", relative_path=relative_path)
    found = []
    for name, fields in _fields(_Facts(path)):
        method = methods[name]
        request: Any = method.request_class(**fields)
        request.repository.CopyFrom(repository)
        found.append(Question(method, request))
    return found


class _Facts:
    """What requests can be about; things that a repository lacks are named all the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.head = self._first("rev-parse", "--verify", "-q", "HEAD") or WRONG
        self.base = self._first("rev-list", "--skip", str(PATCHES), "-n1", self.head)
        self.base = self.base or self._first("rev-list", "--max-parents=0", self.head) or WRONG
        entries = self._lines("ls-tree", "-r", self.head)
        self.files = [line.partition("\t")[2] for line in entries if " blob " in line][:20]
        self.blobs = [line.split()[2] for line in entries if " blob " in line][:20] or [WRONG]
        self.file = self.files[-1] if self.files else "README"
        self.directory = self.file.rpartition("/")[0] or "."
        self.branch = self._first("for-each-ref", "--format=%(refname)", "refs/heads") or "refs/x"
        self.tag = self._first("for-each-ref", "--format=%(refname)", "refs/tags") or "refs/y"
        self.tag_id = self._first("rev-parse", "--verify", "-q", self.tag) or WRONG

    def _lines(self, *arguments: str) -> list[str]:
        command = ["git", "-C", str(self._path), "-c", "core.quotePath=false", *arguments]
        done = subprocess.run(command, capture_output=True)
        return done.stdout.decode(errors="surrogateescape").splitlines()

    def _first(self, *arguments: str) -> str:
        return next(iter(self._lines(*arguments)), "")


def _fields(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    yield from _about_commits(facts)
    yield from _about_walks(facts)
    yield from _about_trees(facts)
    yield from _about_blobs(facts)
    yield from _about_changes(facts)
    yield from _about_references(facts)
    yield from _about_repositories(facts)


def _about_commits(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    head, ids = facts.head, [facts.head, facts.base]
    for revision in (head, "HEAD", facts.branch, facts.tag, "HEAD^", WRONG, "-x", ""):
        yield "FindCommit", {"revision": revision.encode(), "trailers": True}
        yield "CommitStats", {"revision": revision.encode()}
    yield "CommitIsAncestor", {"ancestor_id": facts.base, "child_id": head}
    yield "CommitIsAncestor", {"ancestor_id": head, "child_id": facts.base}
    yield "CommitIsAncestor", {"ancestor_id": WRONG, "child_id": head}
    yield "ListCommitsByOid", {"oid": [*ids, WRONG]}
    yield "ListCommitsByRefName", {"ref_names": [facts.branch.encode(), b"refs/none"]}
    yield "FilterShasWithSignatures", {"shas": [one.encode() for one in ids]}
    yield "GetCommitSignatures", {"commit_ids": ids}
    yield "GetCommitMessages", {"commit_ids": ids}
    yield "CheckObjectsExist", {"revisions": [head.encode(), WRONG.encode(), b"refs/none"]}
    yield "FindMergeBase", {"revisions": [one.encode() for one in ids]}
    yield "CountDivergingCommits", {"from": facts.base.encode(), "to": head.encode()}


def _about_walks(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    revision, path = facts.head.encode(), _path(facts.file)
    yield "ListCommits", {"revisions": [facts.head], "pagination_params": {"limit": 30}}
    yield "ListCommits", {"revisions": [facts.head, f"^{facts.base}"], "order": 1, "reverse": True}
    yield "ListAllCommits", {"pagination_params": {"limit": 10}}
    for options in ({}, {"all": True}, {"paths": [path]}, {"first_parent": True, "order": 1}):
        yield "FindCommits", {"revision": revision, "limit": 20, **options}
    yield "FindCommits", {"revision": revision, "limit": 5, "include_shortstat": True}
    yield "FindCommits", {"revision": revision, "limit": 5, "paths": [path], "follow": True}
    yield "FindAllCommits", {"revision": revision, "max_count": 20, "order": 2}
    yield "CountCommits", {"revisions": [revision]}
    yield "CountCommits", {"revisions": [revision], "path": path}
    yield "CommitsByMessage", {"revision": revision, "query": "change", "limit": 10}
    yield "LastCommitForPath", {"revision": revision, "path": path}
    yield "LastCommitForPath", {"revision": revision, "path": b"no/such/path"}
    yield "ListLastCommitsForTree", {"revision": facts.head, "path": b"", "limit": 25}
    yield "RawBlame", {"revision": revision, "path": path}
    yield "RawBlame", {"revision": revision, "path": path, "range": b"1,3"}


def _about_trees(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    revision, path = facts.head.encode(), _path(facts.file)
    for name in (path, _path(facts.directory), b"no/such/path", b"../x"):
        yield "TreeEntry", {"revision": revision, "path": name}
    yield "TreeEntry", {"revision": revision, "path": path, "max_size": 1}
    for sort in (0, 1, 2):
        yield "GetTreeEntries", {"revision": revision, "path": b".", "sort": sort}
    yield "GetTreeEntries", {"revision": revision, "path": b".", "recursive": True}
    yield "ListFiles", {"revision": revision}
    yield "CommitLanguages", {"revision": revision}
    yield "SearchFilesByName", {"query": ".", "ref": revision, "filter": "e.*"}
    yield "SearchFilesByContent", {"query": "the", "ref": revision}
    yield (
        "GetFileAttributes",
        {"revision": revision, "attributes": ["diff", "text"], "paths": [facts.file]},
    )
    for kind in (0, 1, 3):  # zip has the time of its making in it
        yield "GetArchive", {"commit_id": facts.head, "prefix": "p", "format": kind}


def _about_blobs(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    one = facts.blobs[-1]
    for limit in (-1, 0, 10):
        yield "GetBlob", {"oid": one, "limit": limit}
    yield "GetBlob", {"oid": WRONG, "limit": -1}
    pairs = [{"revision": facts.head, "path": _path(name)} for name in [*facts.files, "none"]]
    yield "GetBlobs", {"revision_paths": pairs, "limit": 100}
    yield "ListBlobs", {"revisions": facts.blobs[:5], "bytes_limit": 20}
    yield "ListBlobs", {"revisions": [facts.head], "limit": 10, "with_paths": True}
    yield "ListAllBlobs", {"limit": 10, "bytes_limit": 5}
    yield "GetLFSPointers", {"blob_ids": facts.blobs}
    yield "ListLFSPointers", {"revisions": [facts.head]}
    yield "ListAllLFSPointers", {}
    blobs = [{"revision": f"{facts.head}:{name}".encode(), "path": _path(name)} for name in
             facts.files[:5]]  # fmt: skip
    yield "CheckBlobsGenerated", {"blobs": blobs}


def _about_changes(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    ends = {"left_commit_id": facts.base, "right_commit_id": facts.head}
    limits = {"enforce_limits": True, "max_files": 9, "max_lines": 500, "max_bytes": 50_000}
    safe = {"collapse_diffs": True, "safe_max_files": 3, "safe_max_lines": 99}
    wide = {"safe_max_bytes": 9999, "max_patch_bytes": 100_000}
    for more in ({}, limits | safe | wide, {"whitespace_changes": 2}, {"diff_mode": 1}):
        yield "CommitDiff", {**ends, **more}
    for name in ("CommitDelta", "DiffStats", "RawDiff", "RawPatch"):
        yield name, ends
        yield name, {"left_commit_id": WRONG, "right_commit_id": facts.head}
    yield "FindChangedPaths", {"commits": [facts.head]}
    yield "GetRawChanges", {"from_revision": facts.base, "to_revision": facts.head}
    old, new = facts.base.encode(), facts.head.encode()
    yield "GetPatchID", {"old_revision": old, "new_revision": new}
    revisions = {"rev1": f"{facts.head}~1", "rev2": facts.head}
    for name in ("RangeDiff", "RawRangeDiff"):
        yield name, {"range_pair": {"range1": "HEAD~2..HEAD~1", "range2": "HEAD~1..HEAD"}}
        yield name, {"base_with_revisions": {"base": "HEAD~2", **revisions}}
    pair = {"left_blob": facts.blobs[0].encode(), "right_blob": facts.blobs[-1].encode()}
    yield "DiffBlobs", {"blob_pairs": [pair]}


def _about_references(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    head = facts.head
    for name in ("FindDefaultBranchName", "FindAllTags", "FindAllBranches"):
        yield name, {}
    yield "FindAllTags", {"sort_by": {"key": 2, "direction": 1}, "pagination_params": {"limit": 5}}
    for sort in (0, 1, 2):
        yield "FindLocalBranches", {"sort_by": sort, "pagination_params": {"limit": 50}}
    yield "FindAllRemoteBranches", {"remote_name": "origin"}
    tag, branch = facts.tag.removeprefix("refs/tags/"), facts.branch.removeprefix("refs/heads/")
    for text in (tag, "none"):
        yield "FindTag", {"tag_name": text.encode()}
    for text in (branch, "none", ""):
        yield "FindBranch", {"name": text.encode()}
    for text in (facts.branch, facts.tag, "refs/none", "bad"):
        yield "RefExists", {"ref": text.encode()}
    for name in ("ListBranchNamesContainingCommit", "ListTagNamesContainingCommit"):
        yield name, {"commit_id": head, "limit": 10}
    yield "GetTagSignatures", {"tag_revisions": [facts.tag_id]}
    yield "GetTagMessages", {"tag_ids": [facts.tag_id]}
    for more in ({"head": True}, {"peel_tags": True}, {"pagination_params": {"limit": 3}}):
        yield "ListRefs", {"patterns": [b"refs/"], **more}
    yield "ListRefs", {}
    yield "FindRefsByOID", {"oid": head}


def _about_repositories(facts: _Facts) -> Iterator[tuple[str, Fields]]:
    for name in (
        "RepositoryExists",
        "ObjectFormat",
        "HasLocalBranches",
        "Fsck",
        "GetConfig",
        "FindLicense",
        "GetInfoAttributes",
        "CalculateChecksum",
    ):
        yield name, {}
    yield "ObjectsSize", {"revisions": [facts.head.encode()]}
    yield "CreateBundle", {}
    yield "CreateBundleFromRefList", {"patterns": [facts.branch.encode()]}
    yield "FastExport", {}


def _path(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
