"""What health and ReadinessCheck of a node look at."""

import os

from gitaly.git import GitBinary
from gitaly.runtime_dir import RuntimeDirectory
from gitaly.services.health import HealthServicer
from gitaly.services.readiness import Check, Readiness, all_there, can_run
from gitaly.spawning import Birthplace
from gitaly.storage import Patrol
from gitaly.upkeep import Upkeep


def make_readiness(
    upkeep: Upkeep,
    health: HealthServicer,
    binary: GitBinary,
    place: Birthplace,
    runtime: RuntimeDirectory,
) -> Readiness:
    """The checks of this node."""
    names = [name for name in os.listdir(runtime.path) if "hooks" in name]
    needed = {runtime.internal_socket: "intern", runtime.socket("hooks"): "hooks"}
    needed |= {os.path.join(runtime.path, name): name for name in names}
    checks: dict[str, Check] = {
        "git": can_run(binary.path),
        "runtime directory": all_there(needed),
    }
    if place.groups is not None:
        groups = place.groups.hierarchy.directories(place.groups.parent_path)
        checks["cgroups"] = all_there(dict.fromkeys(groups, "the parent of all groups"))
    return Readiness(upkeep.patrol, health, checks, upkeep.blocking)


def tell_health(patrol: Patrol, health: HealthServicer) -> None:
    """Let health know of the storages, now and whenever one changes."""

    def tell() -> None:
        problems = {storage.name: found.problem for storage, found in patrol.health.items()}
        health.storages_are(
            {name: problem is None for name, problem in problems.items()},
            can_read=not all(problem and problem.forbids_reading for problem in problems.values()),
        )

    patrol.on_change(tell)
    tell()
