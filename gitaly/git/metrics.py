"""What git costs, for Prometheus, under the names and labels that Gitaly's dashboards know."""

from collections.abc import Callable
from dataclasses import dataclass
from resource import struct_rusage
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gitaly.git.process import CommandLabel

_COMMAND: Final = ("grpc_service", "grpc_method", "cmd", "subcmd")
_FINISHED: Final = (*_COMMAND, "git_version", "reference_backend")
_FORKING_BUCKETS: Final = tuple(0.001 * 2**n for n in range(10))


@dataclass(frozen=True, slots=True)
class _Bound:
    """The series of one command, looked up once: `.labels()` costs 1 µs for each."""

    add_running: Callable[[float], None]
    add_user: Callable[[float], None]
    add_system: Callable[[float], None]
    add_real: Callable[[float], None]
    add_minor_faults: Callable[[float], None]
    add_major_faults: Callable[[float], None]
    add_signals: Callable[[float], None]
    add_voluntary: Callable[[float], None]
    add_nonvoluntary: Callable[[float], None]


class PrometheusCommandMetrics:
    """Counts commands. Labels come from our own names of RPCs and subcommands: few and finite."""

    def __init__(self, registry: CollectorRegistry, git_version: str) -> None:
        self._git_version = git_version
        self._bound: dict[CommandLabel, _Bound] = {}
        self._forking = Histogram(
            "gitaly_spawn_forking_time_seconds",
            "Time to start a child process",
            buckets=_FORKING_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "gitaly_invalid_commands",
            "Git commands refused because of an invalid argument",
            ("command",),
            registry=registry,
        )
        self._running = Gauge(
            "gitaly_commands_running", "Child processes alive", _COMMAND, registry=registry
        )

        def counter(name: str, help_text: str, *more: str) -> Counter:
            labels = (*_COMMAND, *more, *_FINISHED[len(_COMMAND) :])
            return Counter(f"gitaly_command_{name}", help_text, labels, registry=registry)

        self._cpu = counter("cpu_seconds", "CPU time of child processes", "mode")
        self._real = counter("real_seconds", "Wall time of child processes")
        self._minor_faults = counter("minor_page_faults", "Page faults without I/O")
        self._major_faults = counter("major_page_faults", "Page faults with I/O")
        self._signals = counter("signals_received", "Signals received by child processes")
        self._switches = counter(
            "context_switches", "Context switches of child processes", "ctxswitchtype"
        )

    def started(self, label: CommandLabel, forking_seconds: float) -> None:
        """A child runs; starting it took that long."""
        self._forking.observe(forking_seconds)
        self._of(label).add_running(1)

    def finished(self, label: CommandLabel, usage: struct_rusage, real_seconds: float) -> None:
        """It has been reaped."""
        bound = self._of(label)
        bound.add_running(-1)
        bound.add_user(usage.ru_utime)
        bound.add_system(usage.ru_stime)
        bound.add_real(real_seconds)
        bound.add_minor_faults(usage.ru_minflt)
        bound.add_major_faults(usage.ru_majflt)
        bound.add_signals(usage.ru_nsignals)
        bound.add_voluntary(usage.ru_nvcsw)
        bound.add_nonvoluntary(usage.ru_nivcsw)

    def refused(self, subcommand: str) -> None:
        """A git command was not run because of its arguments."""
        self._refused.labels(subcommand).inc()

    def _of(self, label: CommandLabel) -> _Bound:
        bound = self._bound.get(label)
        if bound is None:
            bound = self._bound[label] = self._bind(label)
        return bound

    def _bind(self, label: CommandLabel) -> _Bound:
        command = (label.grpc_service, label.grpc_method, label.cmd, label.subcmd)
        git = (self._git_version, label.reference_backend)
        return _Bound(
            add_running=self._running.labels(*command).inc,
            add_user=self._cpu.labels(*command, "user", *git).inc,
            add_system=self._cpu.labels(*command, "system", *git).inc,
            add_real=self._real.labels(*command, *git).inc,
            add_minor_faults=self._minor_faults.labels(*command, *git).inc,
            add_major_faults=self._major_faults.labels(*command, *git).inc,
            add_signals=self._signals.labels(*command, *git).inc,
            add_voluntary=self._switches.labels(*command, "voluntary", *git).inc,
            add_nonvoluntary=self._switches.labels(*command, "nonvoluntary", *git).inc,
        )
