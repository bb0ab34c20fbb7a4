"""Generates gitaly/_pb from proto/ whenever the package is built, editable installs included."""

import re
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
IMPORT = re.compile(r"^(from raftpb )?import (\w+_pb2)( as \w+)?$", re.MULTILINE)


def generate(proto: Path, target: Path) -> None:
    """Compile every .proto below proto into Python modules and type stubs in the package target.

    File names in the descriptors stay as they are in proto/ (reflection shows them); only the
    import statements of the generated modules are pointed at the package.
    """
    import grpc_tools
    from grpc_tools import protoc

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    files = [str(path) for path in sorted(proto.rglob("*.proto"))]
    arguments = [f"-I{proto}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main(["protoc", *arguments, *files]):
        raise RuntimeError("protoc failed")
    for package in [target, *(path for path in target.iterdir() if path.is_dir())]:
        (package / "__init__.py").write_text("")
    for module in [*target.rglob("*.py"), *target.rglob("*.pyi")]:
        module.write_text(IMPORT.sub(_point_at_package, module.read_text()))


def _point_at_package(match: "re.Match[str]") -> str:
    package = "gitaly._pb.raftpb" if match[1] else "gitaly._pb"
    return f"from {package} import {match[2]}{match[3] or ''}"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's generic is untyped
    """Runs before wheels and editable installs; a source distribution carries proto/ instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's
        """Generate into the source tree, where the build picks it up as an artifact."""
        if self.target_name != "sdist":
            generate(ROOT / "proto", ROOT / "gitaly" / "_pb")
