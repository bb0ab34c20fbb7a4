"""From what a caller wants of git to a command line and an environment. Starts nothing.

    git [--git-dir <repository> | -C <worktree>] -c <configuration…> <subcommand> …

Later configuration wins: for all, for the subcommand, for the limits of the control group, of the
call, attr.tree, the operator's.
Source: Gitaly, internal/git/gitcmd/command_factory.go.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypedDict

from gitaly.errors import Internal
from gitaly.git.account import current_account
from gitaly.git.default_config import EMPTY_TREE, PACKING, Pairs, global_config, subcommand_config
from gitaly.git.environment import base_environment, quarantine_environment, secret_config
from gitaly.git.format import Format, Formats
from gitaly.git.paths import RepositoryPaths
from gitaly.git.quoting import go_quoted
from gitaly.git.subcommands import (
    ATTRIBUTES_OF_HEAD,
    UPDATING_REFS,
    Argument,
    HooksUndecided,
    checked_config,
    command_line,
)
from gitaly.git.version import REF_FORMAT_OPTION, GitBinary


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """How hooks run in a command that may update references."""

    directory: str = "/dev/null"  # core.hooksPath
    env: Mapping[str, str] | None = None  # GITALY_HOOKS_PAYLOAD and its like


NO_HOOKS: Final = Hooks()


class Options(TypedDict, total=False):
    """What a call may say besides the subcommand."""

    repository: RepositoryPaths | None
    worktree: str  # git works here (-C) instead of with --git-dir
    action: str  # "add" of "worktree add"
    flags: Sequence[Argument | tuple[Argument, Argument]]  # a pair is two arguments
    args: Sequence[Argument]  # never taken for options
    after_separator: Sequence[Argument] | None  # behind "--", which None leaves out
    global_flags: Sequence[str]  # "--literal-pathspecs"
    config: Sequence[tuple[str, str]]
    secrets: Sequence[tuple[str, str]]  # configuration that the list of processes must not show
    env: Mapping[str, str]  # wins over everything else
    hooks: Hooks  # needed by what may update references; NO_HOOKS if none shall run


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One git, ready to start."""

    subcommand: str
    argv: Sequence[Argument]
    env: Mapping[str, str]
    placement: str  # the key of its control group
    reference_backend: str  # empty: no repository, or one that cannot be read


class Invocations:
    """Builds them, for one git binary and the operator's configuration."""

    def __init__(
        self,
        binary: GitBinary,
        *,
        environment: Mapping[str, str],
        cpus: int,
        admin_config: Sequence[tuple[str, str]] = (),
        pack_config: Callable[[str], Pairs] = lambda _: (),
    ) -> None:
        self._pack_config = pack_config
        self.formats = Formats()
        self._binary = binary
        self._env = base_environment(environment)
        self._global = global_config(binary.version)
        self._of_subcommand = subcommand_config(cpus)
        self._defaults: dict[str, list[str]] = {}  # by subcommand, of which there are few
        self._admin: list[str] = []
        self.adopt(admin_config)
        self._ref_format = (
            ["--ref-format=files"]
            if binary.version >= REF_FORMAT_OPTION and "GIT_DEFAULT_REF_FORMAT" not in environment
            else []
        )

    def adopt(self, admin_config: Sequence[tuple[str, str]]) -> None:
        """Another configuration of the operator's, for each git that is built from now on."""
        self._admin = list(_config_flags(admin_config))

    @property
    def admin_config(self) -> Sequence[str]:
        """The operator's configuration: "key=value" of each."""
        return self._admin[1::2]

    def build(self, subcommand: str, options: Options) -> Invocation:
        """Check and join everything. Raises InvalidArgument, InvalidRequest, HooksUndecided."""
        repository = options.get("repository")
        hooks = options.get("hooks")
        if subcommand in UPDATING_REFS and hooks is None:
            raise HooksUndecided(
                f"subcommand {go_quoted(subcommand)}: hook payload is required but not configured"
            )
        line = self._line(subcommand, options)
        form = self._format(repository)
        argv: list[Argument] = [self._binary.path]
        if "worktree" in options:
            argv += ["-C", options["worktree"]]
        elif repository is not None:
            argv += ["--git-dir", repository.path]
        argv += self._default_flags(subcommand)
        placement = _placement(repository, line)
        if subcommand in PACKING:
            argv += _config_flags(self._pack_config(placement))
        argv += options.get("global_flags", ())
        argv += _config_flags(options.get("config", ()))
        if hooks is not None:
            argv += ["-c", f"core.hooksPath={hooks.directory}"]
        if form is not None:
            argv += ["-c", f"attr.tree={_attribute_tree(subcommand, form)}"]
        argv += self._admin
        return Invocation(
            subcommand=subcommand,
            argv=argv + line,
            env=self._environment(options),
            placement=placement,
            reference_backend=form.reference_backend if form is not None else "",
        )

    def _line(self, subcommand: str, options: Options) -> list[Argument]:
        flags = options.get("flags", ())
        if subcommand in ("init", "clone"):
            flags = [*flags, *self._ref_format]
        return command_line(
            subcommand,
            options.get("action"),
            flags,
            options.get("args", ()),
            options.get("after_separator"),
        )

    def _format(self, repository: RepositoryPaths | None) -> Format | None:
        if repository is not None:
            with suppress(Internal):  # git says better than we what is wrong with its config
                return self.formats.of(repository.path)
        return None

    def _default_flags(self, subcommand: str) -> list[str]:
        flags = self._defaults.get(subcommand)
        if flags is None:
            pairs: Pairs = (*self._global, *self._of_subcommand(subcommand))
            flags = self._defaults[subcommand] = list(_config_flags(pairs))
        return flags

    def _environment(self, options: Options) -> dict[str, str]:
        env = dict(self._env)
        repository = options.get("repository")
        if repository is not None:
            env |= quarantine_environment(repository)
        correlation_id = current_account().correlation_id
        if correlation_id:
            env["CORRELATION_ID"] = correlation_id
        env |= secret_config(options.get("secrets", ()))
        hooks = options.get("hooks")
        if hooks is not None and hooks.env is not None:
            env |= hooks.env
        env |= options.get("env", {})
        return env


def _config_flags(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for pair in pairs:
        key, value = checked_config(*pair)
        yield "-c"
        yield f"{key}={value}"


def _attribute_tree(subcommand: str, form: Format) -> str:
    return "HEAD" if subcommand in ATTRIBUTES_OF_HEAD else EMPTY_TREE[form.object_format]


def _placement(repository: RepositoryPaths | None, line: Sequence[Argument]) -> str:
    if repository is not None:
        return f"{repository.storage_name}/{repository.relative_path}"
    texts = (part if isinstance(part, str) else part.decode(errors="replace") for part in line)
    return "/".join(("git", *texts))
