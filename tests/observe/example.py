"""A node at night, as docs/seeing-inside.md shows it: what is said there is made from this."""

from gitaly.observe.health import judged
from gitaly.observe.snapshot import (
    AccessState,
    CacheState,
    CallState,
    CertificateState,
    GroupsState,
    GroupState,
    KeyState,
    MethodState,
    NodeState,
    ProductionState,
    QueueState,
    Refusal,
    ReloadState,
    Snapshot,
    StorageState,
    TokenState,
)

GIB = 1 << 30
MIB = 1 << 20
TAKEN = 1795222800.0  # 21 November 2026, 01:00:00 UTC
MONOREPO = "default/@hashed/6b/86/6b86b273ff34fce19d6b804eff5a3f57.git"
WEBSITE = "default/@hashed/d4/73/d4735e3a265e16eee03f59718b9b5d03.git"
FETCH = "SSHService/SSHUploadPackWithSidechannel"
LIMIT = "perRPC/gitaly.SSHService/SSHUploadPackWithSidechannel"
ROOT = "gitaly/gitaly-4711"

CLONE = CallState(
    correlation_id="01KAJ3X0M5T9V2Q8R4C6N7B1ZD",
    rpc=FETCH,
    repository=MONOREPO,
    project="acme/monorepo",
    client="gitlab-shell",
    peer="10.0.3.17:51842",
    user="jane",
    remote_ip="198.51.100.7",
    seconds=184.2,
    run_seconds=184.2,
    cpu_seconds=2.4,
    memory_bytes=17 * MIB,
    commands=("git upload-pack",),
    received_bytes=18_204,
    sent_bytes=1_412 * MIB,
)
PACK = CallState(
    correlation_id="01KAJ3X0M5T9V2Q8R4C6N7B1ZD",
    rpc="HookService/PackObjectsHookWithSidechannel",
    repository=MONOREPO,
    project="acme/monorepo",
    client="gitaly-hooks",
    user="jane",
    remote_ip="198.51.100.7",
    seconds=183.9,
    run_seconds=183.9,
    cpu_seconds=91.7,
    memory_bytes=1_830 * MIB,
    commands=("git pack-objects",),
    received_bytes=17_952,
    sent_bytes=1_411 * MIB,
)
WAITING = CallState(
    correlation_id="01KAJ417Z3E8W5Y2K9H0P6F4XS",
    rpc=FETCH,
    repository=MONOREPO,
    project="acme/monorepo",
    client="gitlab-shell",
    peer="10.0.3.17:51990",
    user="ci-runner",
    remote_ip="198.51.100.40",
    phase="queued",
    waits_for=LIMIT,
    seconds=21.5,
    queue_seconds=21.5,
    received_bytes=96,
)
READ = CallState(
    correlation_id="01KAJ41VJ6D1G7M3S5A8Q2T9RN",
    rpc="CommitService/ListCommits",
    repository=WEBSITE,
    project="acme/website",
    client="gitlab-web",
    peer="10.0.1.4:40112",
    user="omar",
    seconds=0.6,
    run_seconds=0.6,
    deadline_seconds=29.4,
    cpu_seconds=0.4,
    memory_bytes=38 * MIB,
    commands=("git rev-list",),
    received_bytes=210,
    sent_bytes=64_512,
)
EXAMPLE = judged(
    Snapshot(
        taken=TAKEN,
        took_seconds=0.004,
        node=NodeState(
            pid=4711,
            version="18.9.0",
            git_version="2.47.3",
            git_path="/usr/bin/git",
            config_file="/etc/gitaly/config.toml",
            mode="pushes are decided by GitLab at https://gitlab.example.com",
            listeners=("unix:///run/gitaly/gitaly.socket", "tls://0.0.0.0:9999"),
            started=TAKEN - 1_052_640,
            uptime_seconds=1_052_640.0,
            memory_bytes=212 * MIB,
            cpu_seconds=51_732.0,
            threads=11,
            descriptors=187,
            descriptors_limit=65_536,
            connections=24,
            loop_lag_seconds=0.002,
            loop_patience_seconds=1.0,
        ),
        storages=(
            StorageState(
                name="default",
                path="/var/opt/gitaly/repositories",
                file_system="XFS",
                free_bytes=212 * GIB,
                total_bytes=2_000 * GIB,
                free_inodes=400_000_000,
                total_inodes=500_000_000,
            ),
            StorageState(
                name="archive",
                path="/mnt/archive",
                state="read_only",
                problem="the file system is mounted read-only",
                file_system="EXT_2_3_4",
                free_bytes=31 * GIB,
                total_bytes=500 * GIB,
                free_inodes=30_000_000,
                total_inodes=32_000_000,
            ),
        ),
        calls=(CLONE, PACK, WAITING, READ),
        calls_total=4,
        calls_queued=1,
        methods=(
            MethodState(rpc="CommitService/ListCommits", running=1),
            MethodState(rpc="HookService/PackObjectsHookWithSidechannel", running=1),
            MethodState(rpc=FETCH, running=1, queued=1),
        ),
        queues=(
            QueueState(
                name=LIMIT,
                limit=1,
                places=20,
                running=1,
                waiting=1,
                keys=1,
                busiest=(KeyState(key=MONOREPO.partition("/")[2], running=1, waiting=1),),
            ),
            QueueState(
                name="packObjects",
                limit=10,
                places=50,
                running=1,
                keys=1,
                busiest=(KeyState(key="198.51.100.7", running=1),),
            ),
        ),
        cgroups=GroupsState(
            version=2,
            parent=GroupState(
                path=ROOT,
                memory_bytes=14 * GIB,
                anonymous_bytes=2 * GIB,
                memory_limit_bytes=48 * GIB,
                cpu_seconds=402_117.0,
                oom_kills=1,
            ),
            groups=(
                GroupState(
                    path=f"{ROOT}/repos-17",
                    memory_bytes=7_900 * MIB,
                    anonymous_bytes=1_850 * MIB,
                    memory_limit_bytes=8 * GIB,
                    cpu_seconds=94.1,
                    cpu_limit=4.0,
                    throttled_seconds=12.6,
                    oom_kills=1,
                    processes=3,
                    repositories=(MONOREPO,),
                ),
                GroupState(
                    path=f"{ROOT}/repos-42",
                    memory_bytes=210 * MIB,
                    anonymous_bytes=36 * MIB,
                    memory_limit_bytes=8 * GIB,
                    cpu_seconds=0.4,
                    cpu_limit=4.0,
                    oom_kills=0,
                    processes=2,
                    repositories=(WEBSITE,),
                ),
            ),
            groups_total=2,
            spawners=3,
        ),
        cache=CacheState(
            is_enabled=True,
            directory="/var/opt/gitaly/repositories/+gitaly/PackObjectsCache",
            entries=38,
            used_bytes=61 * GIB,
            budget_bytes=100 * GIB,
            hits=18_204,
            misses=1_377,
            joined=402,
            productions=(
                ProductionState(
                    repository=MONOREPO, state="filling", produced_bytes=1_415 * MIB, readers=1
                ),
            ),
            productions_total=1,
        ),
        refusals=(
            Refusal(
                kind="auth",
                reason="permission denied: token has expired",
                rpc="RefService/FindDefaultBranchName",
                client="gitlab-sidekiq",
                peer="10.0.1.9:38120",
                correlation_id="01KAJ40K2B7N4V9C1X6Z3M8QTW",
                first=TAKEN - 95,
                last=TAKEN - 12,
                count=31,
            ),
            Refusal(
                kind="memory",
                reason="git pack-objects was stopped: memory limit of repository cgroup 17 (8 GiB)"
                " is reached",
                rpc=FETCH,
                repository=MONOREPO,
                client="gitlab-shell",
                peer="10.0.3.17:51507",
                user="ci-runner",
                correlation_id="01KAJ3W6D9R2F5T8J1Y4H7K0GA",
                first=TAKEN - 240,
                last=TAKEN - 240,
            ),
        ),
        access=AccessState(
            mode="enforced",
            tokens=(
                TokenState(fingerprint="b62c", uses=18_204, last_used=TAKEN - 2),
                TokenState(fingerprint="f3f4", uses=961, last_used=TAKEN - 5400),
            ),
        ),
        certificate=CertificateState(
            address="0.0.0.0:9999", name="gitaly1.internal", expires=TAKEN + 89.5 * 86400
        ),
        reload=ReloadState(at=TAKEN - 7200, text="auth.tokens, tls.certificate_path"),
    )
)
