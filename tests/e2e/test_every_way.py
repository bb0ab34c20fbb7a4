"""The same life of a repository on every way to it: both programs, three listeners."""

from pathlib import Path

import pytest

from tests.e2e.clients import Way, commit, is_sound, run_git
from tests.e2e.conftest import make_bare, make_work
from tests.e2e.node_process import NodeProcess


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("listener", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_push_clone_and_fetch_carry_everything(
    node: NodeProcess,
    name: str,
    tmp_path: Path,
    program: str,
    listener: str,
    version: int,
    object_format: str,
) -> None:
    work = make_work(tmp_path / "work", f"--object-format={object_format}")
    make_bare(node, name, f"--object-format={object_format}")
    way = Way(node=node, program=program, listener=listener, repository=name, version=version)

    way.git("push", "--quiet", "--follow-tags", way.url, "main", cwd=work)
    copy = way.clone(tmp_path / "copy")
    third = commit(work, "fourth")
    way.git("push", "--quiet", way.url, "main", cwd=work)
    way.git("fetch", "--quiet", "origin", cwd=copy)

    assert way.refs()["refs/heads/main"] == third
    assert run_git("rev-parse", "origin/main", cwd=copy) == third
    assert run_git("tag", cwd=copy) == "v1"
    assert is_sound(copy)
    assert is_sound(way.path)


@pytest.mark.parametrize("listener", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_an_archive_has_the_files_of_a_commit(
    node: NodeProcess, name: str, work: Path, tmp_path: Path, program: str, listener: str
) -> None:
    make_bare(node, name, source=work)
    way = Way(node=node, program=program, listener=listener, repository=name)
    way.git("archive", f"--remote={way.url}", f"--output={tmp_path / 'a.zip'}", "main")
    way.git("archive", f"--remote={way.url}", f"--output={tmp_path / 'a.tar'}", "main")
    run_git("archive", f"--output={tmp_path / 'expected.tar'}", "main", cwd=work)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "expected.tar").read_bytes()
    assert (tmp_path / "a.zip").read_bytes().startswith(b"PK")


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_ls_remote_shows_what_is_there(
    node: NodeProcess, name: str, work: Path, program: str, version: int
) -> None:
    make_bare(node, name, source=work)
    way = Way(node=node, program=program, repository=name, version=version)
    main, tag = (run_git("rev-parse", x, cwd=work) for x in ("main", "v1"))
    peeled = run_git("rev-parse", "v1^{}", cwd=work)
    assert way.git("ls-remote", way.url).splitlines() == [
        f"{main}\tHEAD",
        f"{main}\trefs/heads/main",
        f"{tag}\trefs/tags/v1",
        f"{peeled}\trefs/tags/v1^{{}}",
    ]


@pytest.mark.parametrize("program", ["helper", "ssh"])
def test_an_empty_repository_can_be_cloned(
    node: NodeProcess, name: str, tmp_path: Path, program: str
) -> None:
    make_bare(node, name)
    way = Way(node=node, program=program, repository=name)
    copy = way.clone(tmp_path / "copy")
    commit(copy, "first")
    way.git("push", "--quiet", "origin", "HEAD:refs/heads/main", cwd=copy)
    assert list(way.refs()) == ["refs/heads/main"]
