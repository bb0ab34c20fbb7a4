"""What a node looks like at one moment: plain data, without secrets, of bounded size.

It is written as JSON and read again by another process, perhaps of another version: so every field
has a default, what a reader does not know it leaves out, and names are an interface.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

MOST_CALLS: Final = 500  # listed one by one, the oldest first; all of them are counted
MOST_KEYS: Final = 20  # of one limit: those at which most calls wait
MOST_GROUPS: Final = 256
MOST_PRODUCTIONS: Final = 100
MOST_CHARACTERS: Final = 300  # of what clients call things

ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """The process."""

    pid: int = 0
    state: str = "serving"  # "serving", "draining"
    version: str = ""
    git_version: str = ""
    git_path: str = ""
    config_file: str = ""  # absolute; empty if it was not read from a file
    mode: str = ""  # who decides about pushes, in a sentence
    listeners: tuple[str, ...] = ()
    started: float = 0.0  # seconds since 1970
    uptime_seconds: float = 0.0
    memory_bytes: int = 0  # resident
    cpu_seconds: float = 0.0  # of the process itself, without git
    threads: int = 0
    descriptors: int = 0
    descriptors_limit: int = 0
    connections: int = 0
    loop_lag_seconds: float | None = None  # None: it did not answer in `loop_patience_seconds`
    loop_patience_seconds: float = 0.0
    stuck_at: tuple[str, ...] = ()  # where the loop's thread is, innermost last, if it is stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageState:
    """One storage. `state`: "ok", or the problem as in gitaly_storage_problem."""

    name: str = ""
    path: str = ""
    state: str = "ok"
    problem: str = ""  # in a sentence; empty if it is ok
    file_system: str = ""
    free_bytes: int = 0
    total_bytes: int = 0
    free_inodes: int = 0
    total_inodes: int = 0  # 0: the file system has no fixed number


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState:
    """One call in flight."""

    correlation_id: str = ""
    rpc: str = ""  # "SSHService/SSHUploadPackWithSidechannel"
    repository: str = ""  # "<storage>/<relative path>"; empty before the first message
    project: str = ""  # as GitLab calls the repository
    client: str = ""  # the client's name for itself
    peer: str = ""  # "127.0.0.1:4711", "unix"; empty: a program that git has started
    user: str = ""
    remote_ip: str = ""  # of the person, as the client says
    phase: str = "running"  # "queued", "running"
    waits_for: str = ""  # the limit, while it is queued
    seconds: float = 0.0  # since it came
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    deadline_seconds: float | None = None  # until the client gives up; None: never
    cpu_seconds: float = 0.0  # of its git children
    memory_bytes: int = 0  # resident, of those that run
    commands: tuple[str, ...] = ()  # "git upload-pack": those that run
    received_bytes: int = 0  # from the client, through its sidechannel too
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodState:
    """All calls of one method."""

    rpc: str = ""
    running: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Who stands at one key of a limit."""

    key: str = ""  # a relative path; for pack-objects the address of a client
    running: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One limit and its queues."""

    name: str = ""  # as in gitaly_concurrency_limiting_current_limit
    limit: int = 0  # for one key
    places: int = 0  # to wait, for one key; 0: any number
    is_shadow: bool = False
    running: int = 0
    waiting: int = 0
    keys: int = 0
    busiest: tuple[KeyState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """One control group. None: the kernel does not say, or there is no limit."""

    path: str = ""
    memory_bytes: int | None = None  # page cache included
    anonymous_bytes: int | None = None  # what processes hold
    memory_limit_bytes: int | None = None
    cpu_seconds: float | None = None
    cpu_limit: float | None = None  # CPUs
    throttled_seconds: float | None = None
    oom_kills: int | None = None
    processes: int = 0
    repositories: tuple[str, ...] = ()  # whose git was born there, the last one last


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsState:
    """The control groups of the node."""

    version: int = 0  # 0: there are none
    parent: GroupState = field(default_factory=GroupState)
    groups: tuple[GroupState, ...] = ()
    groups_total: int = 0
    spawners: int = 0
    spawns_waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionState:
    """A pack, or an archive, that git makes now."""

    repository: str = ""
    state: str = ""  # "filling": it goes to the cache; "spilling": straight to its readers
    produced_bytes: int = 0
    readers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheState:
    """The pack-objects cache, or the one of archives."""

    is_enabled: bool = False
    directory: str = ""
    entries: int = 0
    used_bytes: int = 0
    budget_bytes: int = 0  # 0: no limit
    hits: int = 0
    misses: int = 0
    joined: int = 0
    productions: tuple[ProductionState, ...] = ()
    productions_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Who was turned away, or failed. `kind`: "auth", "limit", "memory", "overload", "hook",
    "error"."""

    kind: str = ""
    reason: str = ""
    rpc: str = ""
    repository: str = ""
    client: str = ""
    peer: str = ""
    user: str = ""
    correlation_id: str = ""  # of the last one
    first: float = 0.0  # seconds since 1970
    last: float = 0.0
    count: int = 1  # of the same kind, one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """One token that is valid."""

    fingerprint: str = ""
    uses: int = 0  # calls since the process knows it
    last_used: float = 0.0  # seconds since 1970; 0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessState:
    """Who is let in."""

    mode: str = "off"  # "off", "transitioning", "enforced"
    tokens: tuple[TokenState, ...] = ()  # in the order of the configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateState:
    """The certificate of the listener with TLS."""

    address: str = ""  # empty: there is no such listener
    name: str = ""
    expires: float = 0.0  # seconds since 1970: the first of its chain; 0: it is not known
    state: str = "ok"  # "soon", "now": whoever renews it is late, or very late; "refused"
    problem: str = ""  # why every client refuses it


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadState:
    """The last time that the configuration was read again."""

    at: float = 0.0  # seconds since 1970; 0: never
    is_accepted: bool = True
    text: str = ""  # what has changed, or why it was refused
    waiting: tuple[str, ...] = ()  # keys of the file that count after a restart


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All of it."""

    taken: float = 0.0  # seconds since 1970
    took_seconds: float = 0.0
    is_healthy: bool = True
    wrong: tuple[str, ...] = ()  # sentences: what keeps the node from its work
    remarks: tuple[str, ...] = ()  # what an operator may want to know
    node: NodeState = field(default_factory=NodeState)
    storages: tuple[StorageState, ...] = ()
    calls: tuple[CallState, ...] = ()
    calls_total: int = 0
    calls_queued: int = 0
    methods: tuple[MethodState, ...] = ()  # of the calls in flight
    queues: tuple[QueueState, ...] = ()
    cgroups: GroupsState = field(default_factory=GroupsState)
    cache: CacheState = field(default_factory=CacheState)
    archives: CacheState = field(default_factory=CacheState)
    refusals: tuple[Refusal, ...] = ()  # the latest first
    access: AccessState = field(default_factory=AccessState)
    certificate: CertificateState = field(default_factory=CertificateState)
    reload: ReloadState = field(default_factory=ReloadState)


def to_json(snapshot: Snapshot) -> bytes:
    """As other processes read it."""
    return ENCODER.encode(snapshot)


def from_json(data: bytes) -> Snapshot:
    """Raises ValueError for what is none. Fields of other versions are left out."""
    try:
        return msgspec.json.decode(data, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def bounded(text: str, most: int = MOST_CHARACTERS) -> str:
    """What a client calls something, short and fit for JSON."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.encode(errors="replace").decode()
