"""A directory tree that behaves like a cgroup2 mount: the kernel's part is played here.

Interface files appear with mkdir and go with rmdir; writes to cgroup.subtree_control and to limits
are answered as the kernel does. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
"""

import errno
import os
from pathlib import Path

import pytest

FILES = {
    "": {"cgroup.procs": "", "cgroup.subtree_control": "", "cpu.stat": "usage_usec 0\n"},
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
        self._mkdir, self._rmdir, self._write = os.mkdir, os.rmdir, os.write
        self._populate(root, controllers)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "mkdir", self.mkdir)
        monkeypatch.setattr(os, "rmdir", self.rmdir)
        monkeypatch.setattr(os, "write", self.write)

    def put(self, group: str, *pids: int) -> None:
        """Processes are in a group."""
        (self.root / group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        if self.root in Path(path).parents and "mkdir" in self.refusals:
            raise OSError(self.refusals["mkdir"], os.strerror(self.refusals["mkdir"]), path)
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
        if path.name == "cgroup.subtree_control":
            self._switch_on(path.parent, data.decode().split())
        else:
            path.write_bytes(data + b"\n")
        return len(data)

    def _switch_on(self, group: Path, wanted: list[str]) -> None:
        available = (group / "cgroup.controllers").read_text().split()
        names = [name.removeprefix("+") for name in wanted]
        if any(name not in available for name in names):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if group != self.root and (group / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        control = group / "cgroup.subtree_control"
        control.write_text(" ".join(dict.fromkeys([*control.read_text().split(), *names])))
        for entry in group.iterdir():
            if entry.is_dir():
                self._populate(entry, control.read_text())

    def _populate(self, group: Path, controllers: str) -> None:
        (group / "cgroup.controllers").write_text(controllers)
        for controller in ("", *controllers.split()):
            for name, content in FILES.get(controller, {}).items():
                if not (group / name).exists() or controller:
                    (group / name).write_text(content)
