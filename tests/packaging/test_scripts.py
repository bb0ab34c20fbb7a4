"""What the package's scripts do to a machine, and what they leave alone; its texts."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "packaging/debian"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
TOOLS = ("systemd-sysusers", "systemd-tmpfiles", "deb-systemd-helper")
missing = [name for name in TOOLS if shutil.which(name) is None]

in_a_root = pytest.mark.skipif(
    os.geteuid() != 0 or bool(missing),
    reason=f"needs root and {', '.join(TOOLS)}: apt-get install systemd init-system-helpers",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's files after dpkg has unpacked the package: what the scripts need of them."""
    for directory in ("etc/gitaly", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(ROOT / "packaging/config.toml", tmp_path / "etc/gitaly")
    for kind in ("sysusers.d", "tmpfiles.d"):
        shutil.copy(ROOT / "packaging" / kind / "gitaly.conf", tmp_path / "usr/lib" / kind)
    return tmp_path


def run(script: str, *arguments: str, root: Path) -> str:
    """As dpkg does with --root and --force-script-chrootless."""
    environment = {"PATH": os.environ["PATH"], "DPKG_ROOT": str(root)}
    environment |= {"DPKG_MAINTSCRIPT_PACKAGE": "gitaly"}
    done = subprocess.run(
        [DEBIAN / script, *arguments],
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_plain_shell(script: str) -> None:
    assert os.access(DEBIAN / script, os.X_OK)
    assert (DEBIAN / script).read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", DEBIAN / script], check=True)


@in_a_root
def test_an_installation_makes_a_token_that_only_the_node_reads(root: Path) -> None:
    run("postinst", "configure", "", root=root)
    token = root / "etc/gitaly/token"
    assert re.fullmatch(r"[0-9a-f]{64}", token.read_text())
    owner = re.search(r"^git:x:(\d+):", (root / "etc/passwd").read_text(), re.MULTILINE)
    assert owner
    assert (token.stat().st_mode & 0o777, token.stat().st_uid) == (0o400, int(owner[1]))
    config = (root / "etc/gitaly/config.toml").stat()
    assert (config.st_uid, config.st_gid) == (0, int(owner[1]))


@in_a_root
def test_two_installations_have_two_tokens(root: Path) -> None:
    run("postinst", "configure", "", root=root)
    token = root / "etc/gitaly/token"
    first = token.read_text()
    token.unlink()
    run("postinst", "configure", "", root=root)
    assert token.read_text() != first


@in_a_root
def test_an_upgrade_keeps_token_and_owners(root: Path) -> None:
    run("postinst", "configure", "", root=root)
    token, config = root / "etc/gitaly/token", root / "etc/gitaly/config.toml"
    token.write_text("ours")
    os.chown(config, 0, 0)
    run("postinst", "configure", "18.9.0-1", root=root)
    assert token.read_text() == "ours"
    assert config.stat().st_gid == 0


@in_a_root
def test_who_configures_another_token_gets_no_file(root: Path) -> None:
    (root / "etc/gitaly/config.toml").write_text('[auth]\ntoken = "mine"\n')
    run("postinst", "configure", "", root=root)
    assert not (root / "etc/gitaly/token").exists()


@in_a_root
@pytest.mark.parametrize("asked", ["remove", "purge"])
def test_neither_removal_nor_purge_touches_repositories(root: Path, asked: str) -> None:
    run("postinst", "configure", "", root=root)
    kept = root / "var/lib/gitaly/repositories/team/a.git"
    kept.mkdir(parents=True)
    (kept / "HEAD").write_text("ref: refs/heads/main\n")
    elsewhere = root / "srv/git"
    elsewhere.mkdir(parents=True)
    run("prerm", "remove", root=root)
    said = run("postrm", asked, root=root)
    assert (kept / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert elsewhere.is_dir()
    assert ("repositories in /var/lib/gitaly are kept" in said) == (asked == "purge")


@in_a_root
def test_removal_keeps_the_token_and_purge_takes_it(root: Path) -> None:
    run("postinst", "configure", "", root=root)
    run("postrm", "remove", root=root)
    assert (root / "etc/gitaly/token").exists()
    (root / "etc/gitaly/config.toml").unlink()  # dpkg does
    run("postrm", "purge", root=root)
    assert not (root / "etc/gitaly").exists()
    assert not (root / "var/lib/gitaly").exists(), "it was empty"


def texts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("texts", DEBIAN / "texts.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_copyright_file_names_everything_that_is_bundled_and_carries_the_licences() -> None:
    site_packages = Path(sysconfig.get_paths()["purelib"])
    text = texts().copyright_text(site_packages, DEBIAN / "bundled.toml")
    pins = (ROOT / "requirements/run.txt").read_text()
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", pins, re.MULTILINE):
        line = rf"^  {name.replace('-', '[-_]')} {version}: \S+"
        assert re.search(line, text, re.MULTILINE | re.IGNORECASE), name
    assert "pygit2: COPYING" in text
    assert "linking exception" in text.lower()
    assert "  OpenSSL (in pygit2): Apache-2.0" in text


def test_a_library_of_which_nobody_says_what_it_is_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "some.libs").mkdir()
    (tmp_path / "some.libs/libnew-1234.so.1").touch()
    module = texts()
    with pytest.raises(module.UnexplainedLibrary, match=r"libnew-1234\.so\.1: say in bundled"):
        module.copyright_text(tmp_path, DEBIAN / "bundled.toml")


@pytest.mark.skipif(shutil.which("dpkg-shlibdeps") is None, reason="needs dpkg-dev")
def test_no_package_is_built_for_a_python_that_no_package_has(tmp_path: Path) -> None:
    foreign = tmp_path / "python3"
    foreign.symlink_to("/bin/sh.of.mine")
    command: list[str | Path] = [
        sys.executable,
        DEBIAN / "build.py",
        "--output",
        tmp_path,
        "--python",
        foreign,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "belongs to no Debian package: name another with --python" in done.stderr
    assert list(tmp_path.glob("*.deb")) == []
