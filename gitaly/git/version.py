"""Which git there is, and whether it is new enough."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gitaly.errors import FailedPrecondition, NodeError


class GitUnusable(NodeError):
    """There is no git that the node can work with; the message says what to do."""


class GitVersion(NamedTuple):
    """Comparable with a plain tuple: `version >= (2, 45)`."""

    major: int
    minor: int
    patch: int
    text: str  # "2.39.5", "2.47.0.gl1": what `git version` prints after "git version "

    @classmethod
    def parse(cls, output: str) -> "GitVersion":
        """From the output of `git version`. Raises GitUnusable."""
        text = output.strip().removeprefix("git version ")
        match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
        if match is None:
            raise GitUnusable(f"cannot read a git version from {text[:100]!r}")
        major, minor, patch = match.groups(default="0")
        return cls(int(major), int(minor), int(patch), text)


FLOOR: Final = (2, 39)
REF_FORMAT_OPTION: Final = (2, 45)  # init and clone take --ref-format
MULTI_PACK_REUSE: Final = (2, 44)  # older ones die of pack.allowPackReuse=multi
ATTRIBUTES_OF_A_TREE: Final = (2, 43)  # attr.tree
POINTS_AT_NESTED: Final = (2, 42)  # --points-at goes through tags of tags
EXCLUDE_OPTION: Final = (2, 42)  # for-each-ref takes --exclude
PSEUDO_REVISIONS_ON_STDIN: Final = (2, 42)  # rev-list --stdin takes --all and its like
ATTRIBUTES_SOURCE: Final = (2, 40)  # check-attr takes --source
FULL_PEEL: Final = (2, 45)  # %(*objectname) goes through nested tags


@dataclass(frozen=True, slots=True)
class GitBinary:
    """The git that the node runs."""

    path: str  # absolute
    version: GitVersion

    def require(self, version: tuple[int, int], what: str) -> None:
        """Raise FailedPrecondition with a sentence that names the git which can do `what`."""
        if self.version < version:
            needed = ".".join(map(str, version))
            raise FailedPrecondition(
                f"{what} needs git {needed} or newer, this node has {self.version.text}"
            )


def find_git(bin_path: str, environment: Mapping[str, str]) -> GitBinary:
    """The git at `bin_path`, or, if that is empty, on the PATH of `environment`.

    Runs it once and blocks meanwhile (1 ms): for the start. Raises GitUnusable.
    """
    path = bin_path or shutil.which("git", path=environment.get("PATH"))
    if not path:
        raise GitUnusable("no git found on PATH: install git or set git.bin_path")
    try:
        output = subprocess.run(
            [path, "version"], capture_output=True, check=True, env=dict(environment), timeout=60
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError) as error:
        raise GitUnusable(f"cannot run git at {path} (git.bin_path): {error}") from error
    version = GitVersion.parse(output)
    if version < FLOOR:
        floor = ".".join(map(str, FLOOR))
        raise GitUnusable(f"git {version.text} at {path} is too old: {floor} or newer is needed")
    return GitBinary(path, version)
