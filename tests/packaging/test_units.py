"""The units, and the files beside them, are what systemd and the node make of them."""

import configparser
import ipaddress
import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from gitaly.config import Config, load_text

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNITS = PACKAGING / "systemd"
KNOWN_SINCE_254 = "Unknown key 'DelegateSubgroup' in section [Service], ignoring."
MOST_EXPOSED = 30  # of 100, as systemd-analyze counts: it calls up to 49 OK

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: apt-get install systemd"
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-sysusers") is None,
    reason="needs root, and systemd-sysusers and -tmpfiles: apt-get install systemd",
)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_text((PACKAGING / "config.toml").read_text().replace("token_file", "# token_file"))


def unit(name: str) -> dict[str, str]:
    """Keys of all sections; of repeated ones the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser documents
    parser.read(UNITS / name)
    return {key: value for section in parser.sections() for key, value in parser.items(section)}


@needs_analyze
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    for name in ("gitaly.service", "gitaly.socket"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/bin/gitaly", "/bin/true"))
    paths = [tmp_path / "gitaly.service", tmp_path / "gitaly.socket"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if not line.endswith(KNOWN_SINCE_254)]
    assert said == []
    assert done.returncode == 0 or KNOWN_SINCE_254 in done.stderr


@needs_analyze
def test_what_the_unit_exposes_is_little_in_the_eyes_of_systemd(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nUser=git\nExecStart=/bin/true\n")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}"]
    done = subprocess.run([*command, UNITS / "gitaly.service"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    loose = subprocess.run([*command, bare], capture_output=True, text=True)
    assert "Overall exposure level for bare.service" in loose.stdout
    assert loose.returncode != 0


def test_systemd_waits_longer_than_a_node_takes_to_stop() -> None:
    seconds = timedelta(seconds=int(unit("gitaly.service")["TimeoutStopSec"]))
    assert seconds >= Config().graceful_restart_timeout + timedelta(seconds=15)


def test_the_socket_unit_listens_where_the_configuration_says(config: Config) -> None:
    text = (UNITS / "gitaly.socket").read_text()
    assert re.findall(r"^ListenStream=(.+)$", text, re.MULTILINE) == [
        config.socket_path,
        config.listen_addr,
        config.prometheus_listen_addr,
    ]


def test_an_installed_node_is_reached_from_its_machine_only_and_asks_for_a_token(
    config: Config,
) -> None:
    text = (PACKAGING / "config.toml").read_text()
    assert re.search(r'^\[auth\]\n.*\ntoken_file = "/etc/gitaly/token"$', text, re.MULTILINE)
    assert config.origin.unknown_keys == ()
    assert config.is_standalone
    assert config.tls_listen_addr == ""
    for address in (config.listen_addr, config.prometheus_listen_addr):
        assert ipaddress.ip_address(address.rpartition(":")[0]).is_loopback


@needs_root
def test_user_and_directories_are_made_as_the_unit_and_the_configuration_name_them(
    tmp_path: Path, config: Config
) -> None:
    root = f"--root={tmp_path}"
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", root, PACKAGING / "sysusers.d/gitaly.conf"], check=True)
    passwd = (tmp_path / "etc/passwd").read_text()
    found = re.search(r"^git:x:(\d+):(\d+):[^:]*:/var/lib/gitaly:/usr/sbin/nologin$", passwd, re.M)
    assert found
    assert unit("gitaly.service")["User"] == "git"
    subprocess.run(
        ["systemd-tmpfiles", root, "--create", PACKAGING / "tmpfiles.d/gitaly.conf"], check=True
    )
    for path in (config.runtime_dir, config.storages[0].path):
        made = (tmp_path / path.lstrip("/")).stat()
        assert (made.st_uid, made.st_gid) == (int(found[1]), int(found[2]))
    assert (tmp_path / "var/lib/gitaly").stat().st_mode & 0o007 == 0


@needs_root
def test_a_user_who_is_there_already_stays_as_he_is(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    line = "git:x:1005:1005:Somebody:/home/git:/bin/bash\n"
    (tmp_path / "etc/passwd").write_text(line)
    (tmp_path / "etc/group").write_text("git:x:1005:\n")
    command: list[str | Path] = [
        "systemd-sysusers",
        f"--root={tmp_path}",
        PACKAGING / "sysusers.d/gitaly.conf",
    ]
    subprocess.run(command, check=True)
    assert (tmp_path / "etc/passwd").read_text() == line
