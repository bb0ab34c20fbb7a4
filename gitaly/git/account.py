"""What the git children of one call have cost; ends up in the call's log line and in metrics."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from resource import struct_rusage


@dataclass(slots=True, kw_only=True)
class Account:
    """On whose behalf git runs. `rpc` opens one for each call; rooms below only read and add."""

    grpc_service: str = ""  # "gitaly.SSHService"; empty outside a call
    grpc_method: str = ""
    correlation_id: str = ""
    commands: int = 0
    real_seconds: float = 0.0
    spawn_seconds: float = 0.0  # time until the children existed; whoever spawns adds it
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    maximum_rss_bytes: int = 0
    page_faults_minor: int = 0
    page_faults_major: int = 0
    blocks_in: int = 0
    blocks_out: int = 0
    cgroup_path: str = ""
    groups: set[int] = field(default_factory=set)  # process groups of children that run
    fields: dict[str, object] = field(default_factory=dict)  # further fields for the log line
    waits_for: str = ""  # the queue in which the call stands now
    waits_since: float = 0.0  # monotonic seconds; 0: it does not wait
    waited_seconds: float = 0.0  # in queues before

    def wait(self, queue: str, now: float) -> None:
        """The call stands in a queue from now on; for whoever looks at it meanwhile."""
        self.waits_for, self.waits_since = queue, now

    def go_on(self, now: float) -> None:
        """It does not wait any more."""
        self.waited_seconds += now - self.waits_since
        self.waits_for, self.waits_since = "", 0.0

    def add(self, usage: struct_rusage, real_seconds: float) -> None:
        """Add one finished child: its rusage, and the seconds from its start to its end."""
        self.commands += 1
        self.real_seconds += real_seconds
        self.user_seconds += usage.ru_utime
        self.system_seconds += usage.ru_stime
        self.maximum_rss_bytes = max(self.maximum_rss_bytes, usage.ru_maxrss * 1024)
        self.page_faults_minor += usage.ru_minflt
        self.page_faults_major += usage.ru_majflt
        self.blocks_in += usage.ru_inblock
        self.blocks_out += usage.ru_oublock


ACCOUNT: ContextVar[Account] = ContextVar("account")  # set by `rpc` in the task of each call


def current_account() -> Account:
    """The account of the call that this task serves; a fresh one outside of calls."""
    account = ACCOUNT.get(None)
    return account if account is not None else Account()
