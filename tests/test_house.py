"""The house stands as it was drawn: dependencies between rooms point down, never up."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gitaly"
# From the roof to the cellar: a room may use those below it.
ROOMS = [
    "cli",
    "node",
    "client",
    "config",
    "supervision",
    "services",
    "rpc",
    "hooks",
    "transactions",
    "storage",
    "archivecache",
    "packcache",
    "streamcache",
    "limits",
    "cgroups",
    "linguist",
    "git",
    "transport",
    "observe",
]
# One room, which knows everybody.
COMPOSITION = {
    "cache_setup",
    "git_setup",
    "hook_setup",
    "inspection",
    "limiting",
    "listeners",
    "metrics_listener",
    "node",
    "readiness",
    "reload",
    "reload_setup",
    "remaining",
    "runtime_dir",
    "served_certificate",
    "servicers",
    "serving",
    "spawning",
    "start_log",
    "state_dump",
    "tls",
    "upkeep",
}
GROUND = {"_pb", "errors", "ports", "tasks", "token", "version"}  # everybody stands on it
STRANGERS = [("limits", "cgroups"), ("limits", "transport"), ("cgroups", "transport")]
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "_pb" not in p.parts)


def room_of(name: str) -> str:
    return "node" if name in COMPOSITION else name


def imported_rooms(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "gitaly":
                names = [f"gitaly.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gitaly" and len(parts) > 1 and parts[1] not in GROUND:
                yield room_of(parts[1])


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    first = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    used = set(imported_rooms(module))
    if first in GROUND | {"__init__"}:
        assert used == set()
        return
    here = ROOMS.index(room_of(first))
    assert [room for room in used if ROOMS.index(room) < here] == []


@pytest.mark.parametrize(("one", "other"), STRANGERS)
def test_rooms_that_must_not_know_each_other_do_not(one: str, other: str) -> None:
    for room, stranger in ((one, other), (other, one)):
        for module in (PACKAGE / room).rglob("*.py"):
            assert stranger not in set(imported_rooms(module)), module


def test_no_module_keeps_mutable_state() -> None:
    """Two nodes live in one process: what changes belongs to an object that somebody made."""
    found = []
    for module in MODULES:
        for node in ast.parse(module.read_text()).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.List | ast.Set | ast.ListComp | ast.SetComp):
                names = ast.unparse(node).partition("=")[0].strip()
                if names != "__all__" and "Final" not in names:
                    found.append(f"{module.relative_to(PACKAGE)}: {names}")
    assert found == []
