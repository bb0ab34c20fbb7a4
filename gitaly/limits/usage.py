"""What adaptive limits and the load shedder want to know of the node's control group."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class Pressure(Protocol):
    """The kernel's pressure-stall figure for one resource, in percent of the time."""

    @property
    def some_avg60(self) -> float:
        """Some task was stalled, on average of the last minute."""


class ParentUsage(Protocol):
    """One reading of the control group that all git children of the node are below."""

    @property
    def throttled_seconds(self) -> float:
        """How long its CPU quota has held it back, since it exists."""

    @property
    def memory_limit(self) -> int | None:
        """Bytes; None: no limit."""

    @property
    def memory_usage(self) -> int:
        """Bytes."""

    @property
    def memory_anon(self) -> int:
        """Bytes of memory that is no copy of a file, so that it cannot be dropped."""

    @property
    def memory_inactive_file(self) -> int:
        """Bytes of files that nobody has looked at for a while."""

    @property
    def under_oom(self) -> bool:
        """Whether the kernel looks for memory to take back right now, in vain."""

    @property
    def oom_kills(self) -> int:
        """Processes that the kernel has killed for its limit, since it exists."""

    @property
    def pressure(self) -> Mapping[str, Pressure] | None:
        """By "memory", "io", "cpu"; None where the kernel does not measure it."""


ReadUsage = Callable[[], Awaitable[ParentUsage | None]]  # None: there is no such group
