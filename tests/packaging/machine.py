"""A machine with a real systemd as process 1: namespaces of this one, its files copied on write."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.node_process import wait_until

BOOT: Final = Path(__file__).with_name("boot.sh")
PROGRAMS: Final = ("/lib/systemd/systemd", "unshare", "nsenter", "chroot")
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
SECONDS: Final = 100  # for one command


def why_not() -> str:
    """Why no machine can be made here; empty if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install systemd util-linux"
    if os.geteuid() != 0:
        return "only root may make namespaces with mounts of their own"
    if cgroup2_mount() is None:
        return "no cgroup v2 is mounted, and systemd needs one"
    probe = ["unshare", "-mpfuiCn", "mount", "--make-rprivate", "/"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"namespaces are not allowed here: {done.stderr.strip()}" if done.returncode else ""


def cgroup2_mount() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


class Machine:
    """Commands are run in it as root, by a shell."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-p", "-u", "-i", "-C", "-n", "-r", "-w"]

    def try_run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Standard error is part of what the script says."""
        return subprocess.run(
            [*self._enter, "sh", "-e", "-c", script],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def run(self, script: str) -> str:
        """What it says; a failure fails the test."""
        done = self.try_run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def says(self, script: str, words: str) -> bool:
        return words in self.try_run(script).stdout

    def is_up(self) -> bool:
        return self.says("systemctl is-system-running", "running")


@contextmanager
def running_machine(work: Path, shared: Path) -> Iterator[Machine]:
    """`shared` is /mnt there. Everything that the machine writes elsewhere is gone at the end."""
    mount = cgroup2_mount()
    assert mount is not None
    group = Path(tempfile.mkdtemp(prefix="gitaly-test-", dir=mount))
    enter = 'echo $$ >"$0/cgroup.procs" && exec unshare -mpfuiCn --kill-child sh "$@"'
    command: list[str | Path] = ["sh", "-c", enter, group, BOOT, work, shared]
    with open(work.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: _first_process(process.pid) is not None, "the machine to start")
        machine = Machine(_first_process(process.pid) or 0)
        wait_until(machine.is_up, f"systemd; {work.with_suffix('.log').read_text()}")
        yield machine
    finally:
        process.send_signal(signal.SIGKILL)  # its child follows, and all of that one's namespace
        process.wait()
        wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text(), "the end")
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)


def _first_process(pid: int) -> int | None:
    """systemd, once it is that: by its name."""
    try:
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child) if Path(f"/proc/{child}/comm").read_text() == "systemd\n" else None
    except (OSError, ValueError):
        return None
