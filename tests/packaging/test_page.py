"""What docs/installation.md says fits the sources; test_installation.py types its commands."""

import re
import shlex
import tomllib
from pathlib import Path

from tests.packaging.page import PAGE, commands, example

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging/systemd/gitaly.service"
# Settings of a unit that imply NoNewPrivileges=yes. Source: systemd.exec(5) of version 252.
IMPLYING = {
    "DynamicUser",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallLog",
}


def keys(text: str) -> set[str]:
    return set(re.findall(r"^(\w+)=", text, re.MULTILINE))


def test_packages_and_wheels_are_named_as_they_are_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    named = set(re.findall(r"gitaly[-_](\d[\d.]*\d)", PAGE.read_text()))
    assert named == {version}


def test_the_drop_in_for_hooks_takes_back_all_that_implies_no_new_privileges() -> None:
    implying = keys(UNIT.read_text()) & IMPLYING
    assert len(implying) >= 10
    assert keys(example("ini")) == implying | {"NoNewPrivileges", "CapabilityBoundingSet"}


def test_the_files_that_commands_name_are_there() -> None:
    words = [word for line in commands("By hand") for word in shlex.split(line)]
    named = [word for word in words if word.startswith(("packaging/", "requirements/"))]
    assert len(named) >= 5
    for word in named:
        assert list(ROOT.glob(word)), word


def test_programs_of_the_project_that_commands_call_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    called = set(re.findall(r"(?:^|[ /])(gitaly[a-z-]*) (?:check|serve)", PAGE.read_text()))
    assert called == {"gitaly", "gitaly-hooks"}
    assert called <= set(project["scripts"])


def test_the_example_of_a_socket_unit_forgets_the_addresses_of_ours_first() -> None:
    lines = example("ini", 1).splitlines()
    assert lines[:2] == ["[Socket]", "ListenStream="]
