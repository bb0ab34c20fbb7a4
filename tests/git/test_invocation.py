"""The command lines and environments of git, literally."""

from pathlib import Path

import pytest

from gitaly.errors import FailedPrecondition, InvalidRequest, NodeError
from gitaly.git import NO_HOOKS, Account, GitBinary, GitVersion, Hooks
from gitaly.git.account import ACCOUNT
from gitaly.git.invocation import Invocations
from tests.git.support import Bare, bare

NODE_ENV = {"HOME": "/home/git", "PATH": "/bin", "SECRET": "x", "GIT_DIR": "/", "TZ": "UTC"}
NEWEST = "2.55.0"
GLOBAL = (
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=0"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.useReplaceRefs=false"),
    *("-c", "core.bigFileThreshold=50m"),
    *("-c", "pack.allowPackReuse=multi"),
    *("-c", "midx.version=1"),
    *("-c", "core.fsync=objects,derived-metadata,reference"),
    *("-c", "core.fsyncMethod=fsync"),
    *("-c", "core.packedRefsTimeout=10000"),
    *("-c", "core.filesRefLockTimeout=1000"),
)
PACK = (
    *("-c", "pack.windowMemory=100m"),
    *("-c", "pack.writeReverseIndex=true"),
    *("-c", "pack.threads=3"),
)
DASH = "positional arg {} cannot start with dash '-': invalid argument"
NO_ATTRIBUTES = ("-c", "attr.tree=4b825dc642cb6eb9a060e54bf8d69288fbee4904")


def invocations(version: str = NEWEST, **more: str) -> Invocations:
    return Invocations(
        GitBinary("/bin/git", GitVersion.parse(version)),
        environment=NODE_ENV | more,
        cpus=8,
        admin_config=[("core.fsyncMethod", "batch")],
    )


def test_upload_pack_as_a_whole(tmp_path: Path) -> None:
    repository = bare(tmp_path)
    built = invocations().build(
        "upload-pack",
        {
            "repository": repository,
            "flags": ["--stateless-rpc"],
            "args": [repository.path],
            "config": [("uploadpack.advertiseBundleURIs", "false")],
        },
    )
    assert tuple(built.argv) == (
        *("/bin/git", "--git-dir", repository.path),
        *GLOBAL,
        *("-c", "uploadpack.allowFilter=true"),
        *("-c", "uploadpack.allowAnySHA1InWant=true"),
        *("-c", "uploadpack.hideRefs=refs/keep-around/"),
        *("-c", "uploadpack.hideRefs=refs/remotes/"),
        *("-c", "uploadpack.hideRefs=refs/tmp/"),
        *PACK,
        *("-c", "uploadpack.advertiseBundleURIs=false"),
        *NO_ATTRIBUTES,
        *("-c", "core.fsyncMethod=batch"),
        *("upload-pack", "--stateless-rpc", "--end-of-options", repository.path),
    )
    assert built.placement == "default/a.git"
    assert built.reference_backend == "files"


def test_the_environment_holds_what_is_listed_and_nothing_else(tmp_path: Path) -> None:
    built = invocations().build("show-ref", {"repository": bare(tmp_path)})
    assert built.env == {
        "HOME": "/home/git",
        "PATH": "/bin",
        "TZ": "UTC",
        "LANG": "en_US.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "XDG_CONFIG_HOME": "/dev/null",
    }


def test_quarantine_secrets_hooks_and_correlation_id_go_through_the_environment() -> None:
    repository = Bare(
        "/srv/a.git",
        git_object_directory="objects/q",
        git_alternate_object_directories=("objects", "../pool.git/objects"),
    )
    token = ACCOUNT.set(Account(correlation_id="01ABC"))
    try:
        built = invocations().build(
            "fetch",
            {
                "repository": repository,
                "secrets": [("http.extraHeader", "Authorization: x")],
                "hooks": Hooks(directory="/run/hooks", env={"GITALY_HOOKS_PAYLOAD": "e30="}),
                "env": {"GIT_PROTOCOL": "version=2"},
            },
        )
    finally:
        ACCOUNT.reset(token)
    added = {name: value for name, value in built.env.items() if name not in NODE_ENV}
    assert added == {
        "LANG": "en_US.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "XDG_CONFIG_HOME": "/dev/null",
        "GIT_OBJECT_DIRECTORY": "/srv/a.git/objects/q",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/srv/a.git/objects:/srv/a.git/../pool.git/objects",
        "CORRELATION_ID": "01ABC",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": "Authorization: x",
        "GITALY_HOOKS_PAYLOAD": "e30=",
        "GIT_PROTOCOL": "version=2",
    }
    assert "core.hooksPath=/run/hooks" in built.argv
    assert not any("Authorization" in str(part) for part in built.argv)


@pytest.mark.parametrize(
    ("subcommand", "expected"),
    [
        ("log", "attr.tree=HEAD"),
        ("cat-file", "attr.tree=HEAD"),
        ("rev-list", "attr.tree=6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"),
    ],
)
def test_attributes_come_from_head_or_from_nowhere(
    tmp_path: Path, subcommand: str, expected: str
) -> None:
    repository = bare(tmp_path, "--object-format=sha256")
    assert expected in invocations().build(subcommand, {"repository": repository}).argv


def test_a_git_before_2_44_is_not_told_of_multi_pack_reuse() -> None:
    argv = invocations("2.43.0").build("pack-objects", {}).argv
    assert "pack.allowPackReuse=true" in argv
    assert "pack.allowPackReuse=multi" not in argv


@pytest.mark.parametrize(
    ("version", "more", "expected"),
    [
        ("2.45.0", {}, ["--quiet", "--ref-format=files"]),
        ("2.39.5", {}, ["--quiet"]),
        ("2.45.0", {"GIT_DEFAULT_REF_FORMAT": "reftable"}, ["--quiet"]),
    ],
)
def test_the_reference_format_is_named_where_git_knows_the_option(
    version: str, more: dict[str, str], expected: list[str]
) -> None:
    argv = invocations(version, **more).build("init", {"flags": ["--quiet"], "args": ["/x"]}).argv
    assert list(argv[argv.index("init") :]) == ["init", *expected, "--end-of-options", "/x"]


@pytest.mark.parametrize(
    ("subcommand", "options", "message"),
    [
        ("show", {"args": ["--output=/x"]}, DASH.format(r'"--output=/x"')),
        ("show", {"args": [b"-\xff"]}, DASH.format(r'"-\xff"')),
        ("show", {"args": ["a\0b"]}, r'detected null byte in command argument "a\x00b"'),
        ("show", {"flags": ["x"]}, 'flag "x" failed regex validation: invalid argument'),
        ("show", {"flags": [("---", "x")]}, 'flag "---" failed regex validation: invalid argument'),
        ("worktree", {"action": "-x", "hooks": NO_HOOKS}, 'invalid action "-x": invalid argument'),
        ("daemon", {}, 'invalid sub command name "daemon": invalid argument'),
        ("show", {"config": [("a.x=y", "z")]}, 'config key "a.x=y" failed regexp validation: '
                                               'invalid argument'),
        ("update-ref", {}, 'subcommand "update-ref": hook payload is required but not configured'),
    ],
)  # fmt: skip
def test_hostile_arguments_are_refused(subcommand: str, options: object, message: str) -> None:
    with pytest.raises(NodeError) as caught:
        invocations().build(subcommand, options)  # type: ignore[arg-type]  # a dict of the table
    assert caught.value.message == message


@pytest.mark.parametrize("argument", ["--all", "--not", "--branches=a*", "--glob=refs/x", "main"])
def test_rev_list_takes_pseudo_revisions(argument: str) -> None:
    assert invocations().build("rev-list", {"args": [argument]}).argv[-1] == argument


@pytest.mark.parametrize("argument", ["--output=x", "--glob", "-x", "--all\n"])
def test_rev_list_takes_no_other_options_as_revisions(argument: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        invocations().build("rev-list", {"args": [argument]})
    assert caught.value.message == ("validating positional argument: revision can't start with '-'")


def test_what_git_is_too_old_for_names_the_git_that_can() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        GitBinary("/bin/git", GitVersion.parse("2.39.5")).require((2, 46), "migrating references")
    assert caught.value.message == (
        "migrating references needs git 2.46 or newer, this node has 2.39.5"
    )
