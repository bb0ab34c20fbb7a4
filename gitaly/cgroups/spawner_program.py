"""The program of a spawner process: it enters a control group, starts git there, and reaps it.

    python3 -I -S spawner_program.py [HOME_TASKS_FILE …]      stdin: a socket

Why a process of its own, and not a thread of the node: a thread inside a group that is throttled
or has a small share sooner or later waits there for a processor while it holds the interpreter's
lock. Measured on two busy cores: the node's event loop stood still for 80 ms with a group at its
quota, and for 1.7 s with one of 2 shares. Here only this process stands still, and it serves one
repository's group at a time.

It imports next to nothing (9 ms to start, 3 MB of its own) and has one thread: so it may write
"0" to `tasks` (cgroup v1), which costs 10 to 50 µs; `cgroup.procs` costs 8 ms on a quiet machine.
HOME_TASKS_FILE lead back to the node's groups: it is out of the way of a throttled group while
children of it run, so that their end is known at once. Without them (cgroup v2) it stays inside.

A message is one packet. A request is the `encode` below, answered by "B pid" (born; the pidfd comes
with it), "G errno" (the group cannot be entered) or "F errno" (not started); later comes "E" with
what `decode_end` names. It lives as long as the socket, and what it has started dies with it.

Values travel as `marshal` writes them, which takes a tenth of the time of words cut out of text:
both ends are the same interpreter. What stands before posix_spawn here is waited for by whoever
wants a child, and what stands between its end and "E"; the rest happens beside it.
"""

import _signal  # type: ignore[import-not-found]  # nobody has typed it; signal imports enum
import _socket
import gc
import marshal
import os
import select
import sys

PACKET_BYTES = 1 << 16  # of a request
LONG = b"M"  # stands for a request that is longer: it is in a memory file, the fourth descriptor
SOCKET = 0
MOST_PRECEDENCE = 1000  # of oom_score_adj. Source: Linux, Documentation/filesystems/proc.rst
# What a child must not inherit from the node; this process ignores them itself.
IGNORED = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT)
DEFAULTED = (*IGNORED, _signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD)


def encode(
    doors: tuple[str, ...],
    counter: str,
    precedence: int,
    argv: list[bytes],
    env: dict[bytes, bytes],
) -> bytes:
    """A request. `doors`: the files that one writes "0" to in order to be inside the group;
    `counter`: the file that counts the kernel's kills there, empty if there is none;
    `precedence`: by how much the child's oom_score_adj is above ours."""
    return marshal.dumps((doors, counter, precedence, argv, env))


def decode_end(packet: bytes) -> tuple[int, int, int, int, tuple[float, ...]]:
    """The pid, its wait status, kills in its group before its birth and now, and its rusage."""
    end: tuple[int, int, int, int, tuple[float, ...]] = marshal.loads(packet[1:])  # noqa: S302 - our own child wrote it
    return end


def kills_in(counter: int) -> int:
    """How many processes the kernel has killed for memory in the group; -1: nobody knows."""
    if counter >= 0:
        try:
            text = os.pread(counter, 4096, 0)
        except OSError:  # the group has been removed under us
            return -1
        start = text.find(b"oom_kill ")
        if start >= 0:
            return int(text[start + 9 : text.find(b"\n", start)])
    return -1


class Group:
    """A control group, by the files that lead into it."""

    def __init__(self, doors: tuple[str, ...], counter: str) -> None:
        self.doors = doors
        self.fds: list[int] = []
        self.counter = -1
        try:
            for door in doors:
                self.fds.append(os.open(door, os.O_WRONLY))
        except OSError:
            self.close()
            raise
        if counter and os.path.exists(counter):  # v2 without the controller counts nothing
            self.counter = os.open(counter, os.O_RDONLY)

    @property
    def is_open(self) -> bool:
        return bool(self.fds)

    def enter(self) -> None:
        for fd in self.fds:
            os.write(fd, b"0")

    def close(self) -> None:
        for fd in (*self.fds, self.counter):
            if fd >= 0:
                os.close(fd)
        self.fds, self.counter = [], -1


class Precedence:
    """Whom the kernel takes first: git, before this process, which is inside with it on v2 and
    would be the largest while the one that was taken is not quite gone.

    Only to raise one's own value takes no rights, and to go back. A child is born with ours.
    """

    def __init__(self) -> None:
        self.fd = -1
        try:
            self.fd = os.open("/proc/self/oom_score_adj", os.O_RDWR)
            self.usual = int(os.pread(self.fd, 16, 0))
        except OSError:  # no /proc, or not ours to write
            self.usual = 0
        self.now = self.usual

    def raise_by(self, precedence: int) -> None:
        self.set(min(MOST_PRECEDENCE, self.usual + precedence))

    def restore(self) -> None:
        self.set(self.usual)

    def set(self, value: int) -> None:
        if value == self.now or self.fd < 0:
            return
        try:
            os.pwrite(self.fd, b"%d" % value, 0)
            self.now = value
        except OSError:  # a sandbox that has not everything: nobody is preferred then
            os.close(self.fd)
            self.fd = -1


class NotInside(Exception):
    """The group cannot be entered."""


class Child:
    """A process that this one has started and not reaped."""

    def __init__(self, pid: int, group: Group, kills: int) -> None:
        self.pid = pid
        self.group = group
        self.kills = kills  # of the kernel in its group, before it was born


class Spawner:
    """Takes requests from the socket, one after the other, and tells of children that end."""

    def __init__(self, homes: tuple[str, ...]) -> None:
        self.socket = _socket.socket(fileno=SOCKET)
        self.poll = select.poll()
        self.poll.register(SOCKET, select.POLLIN)
        self.request = bytearray(PACKET_BYTES)  # made once: what is new costs page faults
        self.group = Group((), "")
        self.is_inside = False
        self.children: dict[int, Child] = {}  # by pidfd
        self.precedence = Precedence()
        self.home = Group((), "")
        try:
            self.home = Group(homes, "")
            self.home.enter()
        except OSError:
            self.home.close()  # not ours to enter: then it stays where its children are

    def run(self) -> None:
        try:
            while True:
                for fd, _ in self.poll.poll():
                    if fd != SOCKET:
                        self.reap(fd)
                    elif not self.serve():
                        return
        except OSError:
            return  # the node is gone
        finally:
            for child in self.children.values():
                kill_group(child.pid)

    def serve(self) -> bool:
        """One request; False: the node is gone."""
        size, ancillary, _, _ = self.socket.recvmsg_into(
            [self.request], 64, _socket.MSG_CMSG_CLOEXEC
        )
        if not size:
            return False
        fds: list[int] = []
        for _, _, rights in ancillary:
            fds += memoryview(rights).cast("i").tolist()
        try:
            if size == len(LONG):
                self.start(os.pread(fds[3], os.fstat(fds[3]).st_size, 0), fds)
            else:
                self.start(self.request, fds)
        except NotInside as error:
            self.socket.send(b"G %s" % error.args)
        except OSError as error:
            self.socket.send(b"F %d" % (error.errno or 0))
        for fd in fds:  # in the end: only the readers of the child's output wait for it
            os.close(fd)
        return True

    def start(self, request: bytes | bytearray, fds: list[int]) -> None:
        # It ends where it says; the node, who started us, wrote it.
        doors, counter, precedence, argv, env = marshal.loads(request)  # noqa: S302
        self.enter(doors, counter)
        kills = kills_in(self.group.counter)
        try:
            self.precedence.raise_by(precedence)
            pid = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fds[place], place) for place in (0, 1, 2)],
                setpgroup=0,
                setsigmask=(),
                setsigdef=DEFAULTED,
            )
            self.tell_born(pid, kills)
        finally:
            self.precedence.restore()
            self.leave()

    def tell_born(self, pid: int, kills: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            kill_group(pid)
            os.waitpid(pid, 0)
            raise
        self.children[pidfd] = Child(pid, self.group, kills)
        self.poll.register(pidfd, select.POLLIN)
        right = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))
        self.socket.sendmsg([b"B %d" % pid], [right])

    def enter(self, doors: tuple[str, ...], counter: str) -> None:
        try:
            if doors != self.group.doors:
                group, last = Group(doors, counter), self.group
                self.group, self.is_inside = group, False
                self.release(last)
            if not self.is_inside:
                self.group.enter()
                self.is_inside = True
        except OSError as error:
            last, self.group, self.is_inside = self.group, Group((), ""), False
            self.release(last)
            raise NotInside(b"%d" % (error.errno or 0)) from error

    def leave(self) -> None:
        if self.home.is_open:
            self.is_inside = False
            try:
                self.home.enter()
            except OSError:
                self.home.close()

    def reap(self, pidfd: int) -> None:
        child = self.children.pop(pidfd)
        kill_group(child.pid)  # while the leader is a zombie nobody else can have its number
        _, status, usage = os.wait4(child.pid, 0)
        end = (child.pid, status, child.kills, kills_in(child.group.counter), tuple(usage))
        self.socket.send(b"E" + marshal.dumps(end))
        self.poll.unregister(pidfd)
        os.close(pidfd)
        self.release(child.group)
        if not self.children and not self.is_inside:
            try:  # the next is likely to be born there, and need not wait for the way in
                self.group.enter()
                self.is_inside = True
            except OSError:
                pass  # removed: who wants in next will hear of it

    def release(self, group: Group) -> None:
        """Forget a group unless it is where the next is born, or somebody is still in it."""
        if group is not self.group and all(c.group is not group for c in self.children.values()):
            group.close()


def kill_group(pid: int) -> None:
    """Kill a child and what it has started; nobody may be left."""
    try:
        os.killpg(pid, _signal.SIGKILL)
    except ProcessLookupError:
        return


def main(homes: tuple[str, ...]) -> None:
    """Serve until the socket ends."""
    gc.disable()
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    Spawner(homes).run()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
