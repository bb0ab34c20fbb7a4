"""The wheel alone starts a node: nothing of the source tree is missing in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
socket_path = "{directory}/gitaly.socket"
runtime_dir = "{directory}"
[[storage]]
name = "default"
path = "{directory}/storage"
"""
PROBE = """
import sys, grpc
with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    print(check(b"", wait_for_ready=True, timeout=30))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source")  # a copy: building writes into the tree
    for name in ("gitaly", "proto"):
        ignored = shutil.ignore_patterns("_pb", "_data", "__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_in_an_empty_environment_starts_a_node(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    # Dependencies come from the environment that runs the tests; the package only from the wheel.
    site = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    install = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install"]
    subprocess.run([*install, "-q", "--no-deps", str(wheel)], check=True)
    (dependencies,) = {path for path in sys.path if path.endswith("site-packages")}
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(directory=tmp_path))
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    node = subprocess.Popen(
        [environment / "bin/gitaly", "serve", config],
        cwd=tmp_path,
        env=clean,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        socket = str(tmp_path / "gitaly.socket")
        probe: list[str | Path] = [environment / "bin/python", "-c", PROBE, socket]
        answer = subprocess.run(
            probe, cwd=tmp_path, env=clean, check=True, capture_output=True, text=True, timeout=60
        )
        assert answer.stdout == "b'\\x08\\x01'\n"
        loaded = Path(f"/proc/{node.pid}/cmdline").read_text()
        assert str(environment) in loaded
    finally:
        node.send_signal(signal.SIGTERM)
        said, _ = node.communicate(timeout=30)
    assert node.returncode == 0, said


def test_the_wheel_carries_the_data_of_languages_with_their_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        data = json.loads(archive.read("gitaly/linguist/_data/linguist.json"))
        licence = archive.read("gitaly/linguist/_data/LICENSE").decode()
        (about,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        required = [
            line
            for line in archive.read(about).decode().lower().splitlines()
            if line.startswith("requires-dist:")
        ]
    assert len(data["languages"]) == 706
    assert data["languages"]["Python"]["language_id"] == 303
    assert "Copyright (c) 2017 GitHub, Inc." in licence
    assert "Permission is hereby granted" in licence
    assert required
    assert not [line for line in required if "linguist" in line or "yaml" in line]
