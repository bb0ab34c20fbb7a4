"""How `git archive` is told to replace LFS pointers by what they point to."""

import json
import shlex
import sys
from collections.abc import Mapping
from typing import NamedTuple


class FilterOptions(NamedTuple):
    """For one git."""

    config: tuple[tuple[str, str], ...]
    env: Mapping[str, str]


class LfsFilter:
    """The filter of a node that has a GitLab to ask."""

    def __init__(self, gitlab: Mapping[str, object], tls: Mapping[str, str]) -> None:
        """`gitlab`: the table of the configuration; `tls`: paths of the node's certificate."""
        self._gitlab = gitlab
        self._tls = tls
        self._command = f"{shlex.quote(sys.executable)} -I -m gitaly.cli.lfs_smudge"

    def adopt(self, gitlab: Mapping[str, object], tls: Mapping[str, str]) -> None:
        """Another way to the same GitLab, for filters that start from now on."""
        self._gitlab, self._tls = gitlab, tls

    def options(self, gl_repository: str) -> FilterOptions:
        """`gl_repository`: by which GitLab knows the repository."""
        config = {"gl_repository": gl_repository, "gitlab": self._gitlab, "tls": self._tls}
        return FilterOptions(
            config=(("filter.lfs.process", self._command),),
            env={"GITALY_LFS_SMUDGE_CONFIG": json.dumps(config)},
        )
