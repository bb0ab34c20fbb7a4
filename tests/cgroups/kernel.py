"""A directory tree that behaves like a cgroup2 mount: the kernel's part is played here.

Interface files appear with mkdir and go with rmdir; writes to cgroup.subtree_control and to limits
are answered as the kernel does. Processes move by cgroup.procs, and not into a group that gives
controllers to those below. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
"""

import errno
import os
from pathlib import Path

import pytest

FILES = {
    "": {
        "cgroup.procs": "",
        "cgroup.subtree_control": "",
        "cgroup.events": "populated 0\nfrozen 0\n",
        "cpu.stat": "usage_usec 0\n",
    },
    "cpu": {
        "cpu.max": "max 100000\n",
        "cpu.weight": "100\n",
        "cpu.stat": "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 7\nnr_throttled 2\n"
        "throttled_usec 1500000\n",
        "cpu.pressure": "some avg10=1.00 avg60=2.50 avg300=3.00 total=9\n",
    },
    "memory": {
        "memory.max": "max\n",
        "memory.current": "4096\n",
        "memory.peak": "8192\n",
        "memory.stat": "anon 100\nfile 200\nactive_file 30\ninactive_file 170\npgfault 11\n"
        "pgmajfault 3\n",
        "memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n",
        "memory.events.local": "low 0\nhigh 0\nmax 1\noom 1\noom_kill 0\noom_group_kill 0\n",
        "memory.pressure": "some avg10=0.50 avg60=0.25 avg300=0.00 total=1\n"
        "full avg10=0.10 avg60=0.05 avg300=0.00 total=1\n",
        "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    },
}


class Kernel:
    """The kernel behind one mount."""

    def __init__(self, root: Path, controllers: str = "cpuset cpu io memory pids") -> None:
        self.root = root
        self.refusals: dict[str, int] = {}  # errno by name of file, for writes to come
        self.foreign: set[str] = set()  # groups that are not this user's
        self.marked: set[str] = set()  # groups that systemd has marked as delegated
        self.process = root.parent / "process"  # instead of /proc/self
        self._mkdir, self._rmdir, self._write = os.mkdir, os.rmdir, os.write
        self._access = os.access
        self._populate(root, controllers)
        (root / "cgroup.events").unlink()  # the topmost of a machine has none

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "mkdir", self.mkdir)
        monkeypatch.setattr(os, "rmdir", self.rmdir)
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "access", self.access)
        monkeypatch.setattr(os, "getxattr", self.getxattr)

    def put(self, group: str, *pids: int) -> None:
        """Processes are in a group."""
        (self.root / group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def live_in(self, group: str, *others: int) -> None:
        """This process is in a group, with others."""
        self.put(group, os.getpid(), *others)
        self._tell(group)

    def write_control(self, group: str, controllers: list[str]) -> None:
        """Somebody switches controllers on."""
        self._switch(self.root / group, [f"+{name}" for name in controllers])

    def contain(self) -> None:
        """The mount shows no more than the group of a container."""
        (self.root / "cgroup.events").write_text("populated 1\nfrozen 0\n")

    def processes(self, group: str) -> list[int]:
        """Who is in a group."""
        return [int(line) for line in (self.root / group / "cgroup.procs").read_text().split()]

    def groups(self) -> list[str]:
        """All groups."""
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_dir())

    def access(self, path: str, mode: int) -> bool:
        return not self._is_foreign(Path(path)) and self._access(path, mode)

    def getxattr(self, path: str, name: str) -> bytes:
        if name == "user.delegate" and str(Path(path).relative_to(self.root)) in self.marked:
            return b"1"
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), path)

    def _is_foreign(self, path: Path) -> bool:
        group = path if path.is_dir() else path.parent
        return any(group == self.root / name for name in self.foreign)

    def _tell(self, group: str) -> None:
        self.process.mkdir(exist_ok=True)
        (self.process / "cgroup").write_text(f"0::/{group}\n")

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        if self.root in Path(path).parents and "mkdir" in self.refusals:
            raise OSError(self.refusals["mkdir"], os.strerror(self.refusals["mkdir"]), path)
        if self._is_foreign(Path(path).parent):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
        self._mkdir(path, mode)
        if self.root in Path(path).parents:
            above = (Path(path).parent / "cgroup.subtree_control").read_text()
            self._populate(Path(path), above)

    def rmdir(self, path: str) -> None:
        group = Path(path)
        if self.root in group.parents:
            has_groups = any(entry.is_dir() for entry in group.iterdir())
            if has_groups or (group / "cgroup.procs").read_text():
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            for entry in group.iterdir():
                entry.unlink()
        self._rmdir(path)

    def write(self, fd: int, data: bytes) -> int:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if self.root not in path.parents:
            return self._write(fd, data)
        if path.name in self.refusals:
            number = self.refusals[path.name]
            raise OSError(number, os.strerror(number))
        if self._is_foreign(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if path.name == "cgroup.subtree_control":
            self._switch(path.parent, data.decode().split())
        elif path.name == "cgroup.procs":
            self._move(int(data), path.parent)
        else:
            path.write_bytes(data + b"\n")
        return len(data)

    def _move(self, pid: int, group: Path) -> None:
        if self._holds_controllers(group):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        for file in [*self.root.rglob("cgroup.procs"), self.root / "cgroup.procs"]:
            lines = file.read_text().splitlines()
            file.write_text("".join(f"{line}\n" for line in lines if line != str(pid)))
        with (group / "cgroup.procs").open("a") as joined:
            joined.write(f"{pid}\n")
        if pid == os.getpid():
            name = str(group.relative_to(self.root))
            self._tell("" if name == "." else name)

    def _holds_controllers(self, group: Path) -> bool:
        """Whether the group may have no processes; the topmost of a machine always may."""
        return (group / "cgroup.events").exists() and bool(
            (group / "cgroup.subtree_control").read_text().strip()
        )

    def _switch(self, group: Path, wanted: list[str]) -> None:
        control = group / "cgroup.subtree_control"
        available = (group / "cgroup.controllers").read_text().split()
        on = dict.fromkeys(control.read_text().split())
        below = [entry for entry in group.iterdir() if entry.is_dir()]
        for word in wanted:
            name = word[1:]
            if name not in available:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            if word[0] == "+":
                on[name] = None
                continue
            if any(name in (b / "cgroup.subtree_control").read_text().split() for b in below):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            on.pop(name, None)
        is_top = not (group / "cgroup.events").exists()
        if on and not is_top and (group / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        control.write_text(" ".join(on))
        for entry in below:
            self._populate(entry, control.read_text())

    def _populate(self, group: Path, controllers: str) -> None:
        (group / "cgroup.controllers").write_text(controllers)
        for controller in ("", *controllers.split()):
            for name, content in FILES.get(controller, {}).items():
                if not (group / name).exists() or controller:
                    (group / name).write_text(content)
