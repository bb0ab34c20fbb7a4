"""What adaptive limits and the load shedder want to know of the node's control group."""

from collections.abc import Awaitable, Callable
from typing import Protocol


class ParentUsage(Protocol):
    """One reading of the control group that all git children of the node are below.

    Pressures are the share of the last minute, in percent, in which some task was stalled; None
    where the kernel does not measure it.
    """

    @property
    def throttled_seconds(self) -> float:
        """How long its CPU quota has held it back, since it exists."""

    @property
    def memory_limit_bytes(self) -> int | None:
        """None: no limit."""

    @property
    def memory_bytes(self) -> int:
        """In use, copies of files included."""

    @property
    def anonymous_bytes(self) -> int:
        """Memory that is no copy of a file, so that it cannot be dropped."""

    @property
    def inactive_file_bytes(self) -> int:
        """Copies of files that nobody has looked at for a while."""

    @property
    def is_under_oom(self) -> bool:
        """Whether the kernel looks for memory to take back right now, in vain."""

    @property
    def oom_kills(self) -> int:
        """Processes that the kernel has killed for its limit, since it exists."""

    @property
    def memory_pressure(self) -> float | None:
        """Stalled for memory."""

    @property
    def io_pressure(self) -> float | None:
        """Stalled for disks."""

    @property
    def cpu_pressure(self) -> float | None:
        """Stalled for a CPU."""


ReadUsage = Callable[[], Awaitable[ParentUsage | None]]  # None: there is no such group


def pressures_of(usage: ParentUsage) -> dict[str, float]:
    """The pressures that are known, by resource: "memory", "io", "cpu"."""
    found = {
        "memory": usage.memory_pressure,
        "io": usage.io_pressure,
        "cpu": usage.cpu_pressure,
    }
    return {resource: percent for resource, percent in found.items() if percent is not None}
