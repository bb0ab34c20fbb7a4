"""The package on a machine with a real systemd, by the commands of docs/installation.md.

Building takes a minute or so, and the network: GITALY_TEST_DEB=1 switches these tests on. With the
path of a package instead of 1 they are about that one.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.node_process import wait_until
from tests.packaging.machine import Machine, running_machine, why_not
from tests.packaging.page import commands, example

ROOT = Path(__file__).resolve().parents[2]
WANTED = os.environ.get("GITALY_TEST_DEB", "")
WHY_NOT = why_not() if WANTED else "takes minutes; GITALY_TEST_DEB=1 switches it on"
if shutil.which("dpkg-shlibdeps") is None:
    WHY_NOT = WHY_NOT or "needs dpkg-dev"
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.timeout(600)]

HELLO = "/var/lib/gitaly/repositories/hello.git"
ADDRESS = "gitaly://127.0.0.1:8075/default/hello.git"
WHO = "-c user.name=Jane -c user.email=jane@example.com"
PUSH = f"""
export GITALY_TOKEN="$(cat /etc/gitaly/token)"
cd "$(mktemp -d)"
git clone -q {ADDRESS} work 2>&1
cd work
git {WHO} commit -q --allow-empty -m hello
git push origin HEAD 2>&1
"""
CLONE = f'cd "$(mktemp -d)" && GITALY_TOKEN="$(cat /etc/gitaly/token)" git clone {ADDRESS}'


def built(directory: Path) -> Path:
    command: list[str | Path] = [
        sys.executable,
        ROOT / "packaging/debian/build.py",
        "--output",
        directory,
    ]
    subprocess.run([*command, "--compression", "gzip"], check=True, timeout=500)
    (package,) = directory.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What machines see as /mnt: the sources' packaging, and the package in dist."""
    directory = tmp_path_factory.mktemp("s")
    if WANTED == "1":
        built(directory / "dist")
    else:
        (directory / "dist").mkdir()
        shutil.copy(WANTED, directory / "dist")
    shutil.copytree(ROOT / "packaging", directory / "packaging")
    return directory


@pytest.fixture(scope="module")
def package(shared: Path) -> Path:
    (found,) = (shared / "dist").glob("*.deb")
    return found


@pytest.fixture
def machine(tmp_path: Path, shared: Path) -> Iterator[Machine]:
    work = tmp_path / "machine"
    work.mkdir()
    with running_machine(work, shared) as started:
        yield started


def install(machine: Machine) -> None:
    """As the page says, up to the first clone."""
    machine.run("\n".join(["cd /mnt", *commands("The package")[:1]]))
    machine.run("\n".join(['cd "$(mktemp -d)"', *commands("The package")[1:]]))


@pytest.fixture
def installed(machine: Machine) -> Machine:
    install(machine)
    return machine


def main_pid(machine: Machine) -> int:
    return int(machine.run("systemctl show -P MainPID gitaly"))


def hand_over(machine: Machine) -> None:
    """SIGUSR1: a new process takes the listeners over; the old one has ended afterwards."""
    before = main_pid(machine)
    machine.run("systemctl kill -s USR1 --kill-who=main gitaly")
    wait_until(lambda: main_pid(machine) not in (0, before), "another process to be the main one")
    wait_until(lambda: not machine.says("ls /proc", f"\n{before}\n"), "the old process to end")


@pytest.mark.skipif(WANTED != "1", reason="GITALY_TEST_DEB names a package")
def test_a_package_is_built_twice_with_the_same_bytes(package: Path, tmp_path: Path) -> None:
    assert built(tmp_path).read_bytes() == package.read_bytes()


def test_the_package_is_the_one_of_the_page(package: Path) -> None:
    assert f"dist/{package.name}" in commands("The package")[0]
    assert commands("The package", "$ ") == ["make deb"]


def test_a_node_runs_after_installation_and_serves_pushes_and_clones(installed: Machine) -> None:
    status = installed.run("systemctl status gitaly")
    assert "active (running)" in status
    assert 'Status: "Serving' in status
    assert installed.run("systemctl is-enabled gitaly") == "enabled\n"
    assert "new branch" in installed.run(PUSH)
    assert installed.run(f"{CLONE} copy 2>&1 && git -C copy log --format=%s").endswith("hello\n")
    for name in ("gitaly", "gitaly-ssh", "gitaly-hooks", "git-remote-gitaly"):
        assert installed.run(f"command -v {name}") == f"/usr/bin/{name}\n"
    refused = installed.try_run(f"cd /tmp && GITALY_TOKEN=wrong git clone {ADDRESS} refused")
    assert refused.returncode != 0
    assert "permission denied" in refused.stdout.lower()


def test_custom_hooks_and_repositories_of_groups_work_inside_the_sandbox(
    installed: Machine,
) -> None:
    install_hook(installed, 'echo "$(id -un) $(mktemp) $(ulimit -n)"\ngrep NoNew /proc/self/status')
    installed.run(f"runuser -u git -- git -C {HELLO} config core.sharedRepository group")
    said = installed.run(PUSH)
    assert re.search(r"remote: git /tmp/\S+ 1024\b", said), said
    assert "NoNewPrivs:\t1" in said
    assert "drwxrws" in installed.run(f"ls -l {HELLO}/objects")


def test_the_drop_in_of_the_page_lets_hooks_gain_rights(installed: Machine) -> None:
    text = example("ini")
    path = text.splitlines()[0].removeprefix("# ")
    installed.run(f"mkdir -p {os.path.dirname(path)}; printf %s {shlex.quote(text)} > {path}")
    installed.run(
        "cp /usr/bin/id /usr/local/bin/id-of-root && chmod 4755 /usr/local/bin/id-of-root"
    )
    install_hook(installed, "/usr/local/bin/id-of-root")
    assert "euid=0(root)" not in installed.run(PUSH)
    installed.run("systemctl daemon-reload && systemctl restart gitaly")
    assert "euid=0(root)" in installed.run(PUSH)


def install_hook(machine: Machine, text: str) -> None:
    hook = f"{HELLO}/custom_hooks/post-receive"
    script = shlex.quote(f"#!/bin/sh\n{text}\n")
    machine.run(f"mkdir -p {HELLO}/custom_hooks; printf %s {script} > {hook}; chmod 755 {hook}")


def test_a_process_that_took_over_is_watched_and_stopped_like_the_first(
    installed: Machine,
) -> None:
    hand_over(installed)
    installed.run(f"{CLONE} one 2>&1")
    crashed = main_pid(installed)
    installed.run(f"kill -9 {crashed}")
    wait_until(lambda: main_pid(installed) not in (0, crashed), "systemd to start another")
    wait_until(lambda: installed.says("systemctl is-active gitaly", "active"), "it to be ready")
    installed.run(f"{CLONE} two 2>&1")
    hand_over(installed)
    installed.run("systemctl stop gitaly")
    assert installed.run("systemctl show -P Result gitaly") == "success\n"
    assert "Gitaly shutdown" in installed.run("journalctl -u gitaly -n 5")
    assert installed.run("find /run/gitaly /var/lib/gitaly/run -mindepth 1") == ""


def test_with_the_socket_unit_calls_wait_while_the_node_restarts(installed: Machine) -> None:
    installed.run("\n".join(commands("systemd listens")))
    said = installed.run(
        "systemctl restart --no-block gitaly\n"
        "for i in 1 2 3 4 5 6 7 8 9 10; do\n"
        f"  (GITALY_TOKEN=$(cat /etc/gitaly/token) git ls-remote -q {ADDRESS} && echo ok) 2>&1\n"
        "done"
    )
    assert said == "ok\n" * 10
    assert "socket" in installed.run("systemctl show -P TriggeredBy gitaly")
    installed.run("systemctl stop gitaly")
    assert "gitaly.socket" in installed.run("ls /run/gitaly"), "the node took systemd's socket away"
    installed.run(f"{CLONE} woken 2>&1")


def test_an_upgrade_keeps_what_is_ours_and_refuses_no_call(installed: Machine) -> None:
    before = main_pid(installed)
    token = installed.run("cat /etc/gitaly/token")
    installed.run("echo '# ours' >> /etc/gitaly/config.toml")
    answers = installed.run(
        'export GITALY_TOKEN="$(cat /etc/gitaly/token)"\n'
        "(dpkg -i /mnt/dist/*.deb; touch /tmp/upgraded) > /tmp/said 2>&1 &\n"
        "until [ -e /tmp/upgraded ]; do\n"
        # the program itself is being replaced, so its own absence is no refusal
        f"  git ls-remote -q {ADDRESS} 2>&1 || true\n"
        "done\n"
        f"git ls-remote -q {ADDRESS} && cat /tmp/said"
    )
    assert "Setting up gitaly" in answers
    assert "refused" not in answers.lower()
    assert "UNAVAILABLE" not in answers.upper()
    assert main_pid(installed) not in (0, before)
    assert "Upgrade succeeded" in installed.run("journalctl -u gitaly")
    assert installed.run("tail -n 1 /etc/gitaly/config.toml") == "# ours\n"
    assert installed.run("cat /etc/gitaly/token") == token
    assert installed.run("stat -c '%a %U %G' /etc/gitaly/config.toml") == "640 root git\n"


def test_an_upgrade_with_another_unit_restarts_the_node(installed: Machine) -> None:
    before = main_pid(installed)
    installed.run(
        "sed -i s/WatchdogSec=30/WatchdogSec=31/ /lib/systemd/system/gitaly.service\n"
        "systemctl daemon-reload"
    )
    installed.run("dpkg -i /mnt/dist/*.deb")
    assert main_pid(installed) not in (0, before)
    assert "Upgrade succeeded" not in installed.run("journalctl -u gitaly")
    assert installed.run("systemctl show -P WatchdogUSec gitaly") == "30s\n"


def test_removal_and_purge_leave_the_repositories(installed: Machine) -> None:
    installed.run(PUSH)
    remove, purge = commands("Upgrade, removal")[1:]
    installed.run(f"{remove} -y")
    assert installed.try_run("systemctl is-active gitaly").stdout == "inactive\n"
    assert installed.run("ls /etc/gitaly") == "config.toml\ntoken\n"
    assert installed.try_run("ls /usr/lib/gitaly").returncode != 0
    installed.run(f"{purge} -y")
    assert installed.try_run("ls /etc/gitaly").returncode != 0
    assert installed.run(f"git -C {HELLO} -c safe.directory='*' log --format=%s") == "hello\n"
    install(installed)
    assert "hello" in installed.run(f"{CLONE} copy 2>&1 && git -C copy log --format=%s")


def test_a_node_is_installed_by_hand_as_the_page_says(machine: Machine) -> None:
    """The environment in /opt comes out of the package: machines have no network."""
    typed = commands("By hand")
    pip = next(i for i, line in enumerate(typed) if line.startswith("/opt/gitaly/bin/pip"))
    machine.run(
        "dpkg-deb -x /mnt/dist/*.deb /tmp/x && mv /tmp/x/usr/lib/gitaly /opt\n"
        "sed -i 1s,/usr/lib,/opt, /opt/gitaly/bin/git*"
    )
    machine.run("\n".join(["cd /mnt", *typed[pip + 1 :]]))
    assert "active (running)" in machine.run("systemctl status gitaly")
    machine.run("\n".join(["cd /root", *commands("The package")[2:]]))


def test_a_node_whose_configuration_is_wrong_says_so_and_is_not_started_for_ever(
    installed: Machine,
) -> None:
    installed.run("systemctl stop gitaly && echo 'socket_path = 5' > /etc/gitaly/config.toml")
    assert installed.try_run("systemctl start gitaly").returncode != 0
    wait_until(
        lambda: installed.says("systemctl show -P ActiveState gitaly", "failed"),
        "systemd to give up",
    )
    assert "socket_path" in installed.run("journalctl -u gitaly")
