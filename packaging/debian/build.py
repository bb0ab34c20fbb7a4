"""Builds the Debian package: the node with a Python environment of its own, from pinned wheels.

Run as `make deb`. Needs dpkg-deb and dpkg-shlibdeps (package dpkg-dev) and a Python of the
distribution, which the package then depends on. Two builds of the same sources on the same
distribution give the same bytes: times are SOURCE_DATE_EPOCH's, or those of the last commit.
"""

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from texts import UnexplainedLibrary, changelog_text, copyright_text

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
HOME: Final = "usr/lib/gitaly"  # of the Python environment
GIT: Final = "git (>= 1:2.39)"
SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
CONFFILES: Final = ("/etc/gitaly/config.toml",)
SOURCES: Final = ("gitaly", "proto", "pyproject.toml", "hatch_build.py", "README.md")
GENERATED: Final = ("_pb", "_data", "__pycache__")
OURS: Final = ("debian", "systemd", "sysusers.d", "tmpfiles.d")  # directories beside config.toml
# What pip notes about an installation: places and hashes of the machine that built.
NOTES_OF_PIP: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
SCRIPT: Final = """\
#!/{home}/bin/python -I
import sys

from {module} import {function}

sys.exit({function}())
"""

Command = Sequence[str | Path]


class CannotBuild(Exception):
    """The message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is built, of what, and where."""

    python: Path  # as the installed package finds it
    stage: Path  # the root directory of the package's files
    epoch: int  # seconds; the time of all files
    version: str
    maintainer: str
    compression: str

    @property
    def home(self) -> Path:
        return self.stage / HOME

    @property
    def site_packages(self) -> Path:
        return self.home / "lib" / self.python.name / "site-packages"


def main() -> int:
    """The exit code: 1 with a sentence on standard error if something is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="directory")
    parser.add_argument("--python", type=Path, default=Path("/usr/bin/python3"))
    parser.add_argument("--revision", default="1", help="of the package, after the version")
    parser.add_argument("--compression", default="xz", help="as dpkg-deb -Z knows it")
    chosen = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="gitaly-deb-") as directory:
            print(_build(chosen, Path(directory)))
    except subprocess.CalledProcessError as error:
        print(f"make deb: {error}\n{error.stderr or ''}", file=sys.stderr)
        return 1
    except (CannotBuild, UnexplainedLibrary, OSError) as error:
        print(f"make deb: {error}", file=sys.stderr)
        return 1
    return 0


def _build(chosen: argparse.Namespace, work: Path) -> Path:
    for program in ("dpkg-deb", "dpkg-shlibdeps"):
        if shutil.which(program) is None:
            raise CannotBuild(f"{program} is missing: apt-get install dpkg-dev")
    os.umask(0o022)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plan = Plan(
        python=chosen.python.resolve(),
        stage=work / "stage",
        epoch=_epoch(),
        version=f"{project['version']}-{chosen.revision}",
        maintainer=_maintainer(),
        compression=chosen.compression,
    )
    interpreter = _package_of(plan.python)
    _make_environment(plan, _wheel(work))
    _make_programs(plan, project["scripts"])
    _add_files(plan)
    _add_documents(plan)
    _add_control(plan, [GIT, interpreter, *_libraries(plan, work)])
    _set_times(plan)
    return _pack(plan, chosen.output)


def _epoch() -> int:
    said = os.environ.get("SOURCE_DATE_EPOCH")
    if said:
        return int(said)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild("set SOURCE_DATE_EPOCH: outside a repository nobody says how old this is")
    return int(done.stdout)


def _maintainer() -> str:
    """As Debian's tools are told; we invent no address."""
    name = os.environ.get("DEBFULLNAME", "Built locally")
    return f"{name} <{os.environ.get('DEBEMAIL', 'root@localhost')}>"


def _package_of(python: Path) -> str:
    """What to depend on for python: python3.11, although a smaller package has the program."""
    done = subprocess.run(["dpkg", "-S", python], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"{python} belongs to no Debian package: name another with --python")
    return python.name


def _wheel(work: Path) -> Path:
    """Built from a copy: building writes into the tree, which may be in use."""
    source, target = work / "source", work / "wheel"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*GENERATED))
        else:
            shutil.copy(ROOT / name, source / name)
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target], cwd=source)
    (wheel,) = target.glob("*.whl")
    return wheel


def _make_environment(plan: Plan, wheel: Path) -> None:
    """A virtual environment in its final form: nothing in it knows where it was built."""
    plan.site_packages.mkdir(parents=True)
    (plan.home / "bin").mkdir()
    (plan.home / "bin/python").symlink_to(plan.python)
    (plan.home / "pyvenv.cfg").write_text(
        f"home = {plan.python.parent}\ninclude-system-site-packages = false\n"
    )
    python = plan.home / "bin/python"
    pip: Command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    rules = ["--no-deps", "--no-compile", "--only-binary", ":all:", "--disable-pip-version-check"]
    _run([*pip, *rules, "-r", ROOT / "requirements/run.txt", wheel])
    copyright_file = plan.stage / "usr/share/doc/gitaly/copyright"
    copyright_file.parent.mkdir(parents=True)
    copyright_file.write_text(copyright_text(plan.site_packages, HERE / "bundled.toml"))
    for name in NOTES_OF_PIP:
        for note in plan.site_packages.glob(f"*.dist-info/{name}"):
            note.unlink()
    compileall: Command = ["-I", "-m", "compileall", "-q", "-s", plan.stage, "-p", "/"]
    _run([plan.python, *compileall, "--invalidation-mode", "unchecked-hash", plan.site_packages])
    for path in _files(plan.site_packages):  # wheels carry modes of the machines that made them
        path.chmod(0o755 if path.is_dir() else 0o644)


def _make_programs(plan: Plan, scripts: dict[str, str]) -> None:
    """The project's programs only, isolated from what users have in their environment."""
    for program in (plan.home / "bin").iterdir():
        program.unlink()
    python = os.path.relpath(plan.python, f"/{HOME}/bin")  # not before pip has used it
    (plan.home / "bin/python").symlink_to(python)
    (plan.stage / "usr/bin").mkdir()
    for name, entry in scripts.items():
        module, _, function = entry.partition(":")
        program = plan.home / "bin" / name
        program.write_text(SCRIPT.format(home=HOME, module=module, function=function))
        program.chmod(0o755)
        (plan.stage / "usr/bin" / name).symlink_to(f"../lib/gitaly/bin/{name}")


def _add_files(plan: Plan) -> None:
    packaging = ROOT / "packaging"
    for source, target in (
        ("systemd/gitaly.service", "lib/systemd/system"),
        ("systemd/gitaly.socket", "lib/systemd/system"),
        ("sysusers.d/gitaly.conf", "usr/lib/sysusers.d"),
        ("tmpfiles.d/gitaly.conf", "usr/lib/tmpfiles.d"),
        ("config.toml", "etc/gitaly"),
    ):
        _copy(packaging / source, plan.stage / target)
    (plan.stage / "etc/gitaly/config.toml").chmod(0o640)
    for directory in sorted(packaging.iterdir()):  # dashboards and rules
        if directory.is_dir() and directory.name not in OURS:
            shutil.copytree(directory, plan.stage / "usr/share/gitaly" / directory.name)
    overrides = plan.stage / "usr/share/lintian/overrides"
    overrides.mkdir(parents=True)
    shutil.copy(HERE / "lintian-overrides", overrides / "gitaly")


def _add_documents(plan: Plan) -> None:
    """With the pages' own paths, so that links between them work."""
    target = plan.stage / "usr/share/doc/gitaly"
    for page in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "config.toml.example"):
        _copy(ROOT / page, target)
    shutil.copytree(ROOT / "docs", target / "docs")
    _compress(target / "changelog.gz", (ROOT / "CHANGELOG.md").read_text())
    own = changelog_text(plan.version, plan.maintainer, plan.epoch)
    _compress(target / "changelog.Debian.gz", own)


def _libraries(plan: Plan, work: Path) -> list[str]:
    """What the binaries in the wheels need of the distribution: `libc6 (>= 2.17)` and so on."""
    source = work / "shlibdeps/debian"  # dpkg-shlibdeps wants to be in a source package
    source.mkdir(parents=True)
    (source / "control").write_text("Source: gitaly\n\nPackage: gitaly\nArchitecture: any\n")
    carried = sorted(plan.site_packages.glob("*.libs"))
    binaries = sorted(x for x in plan.site_packages.rglob("*.so*") if x.is_file())
    options = ["-O", "--ignore-missing-info", *(f"-l{directory}" for directory in carried)]
    done = _run(["dpkg-shlibdeps", *options, *(f"-e{x}" for x in binaries)], cwd=source.parent)
    found = re.search(r"^shlibs:Depends=(.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise CannotBuild(f"dpkg-shlibdeps names no library: {done.stderr}")
    return found[1].split(", ")


def _add_control(plan: Plan, depends: list[str]) -> None:
    directory = plan.stage / "DEBIAN"
    files = [x for x in _files(plan.stage) if x.is_file() and not x.is_symlink()]
    kibibytes = sum(-(-x.stat().st_size // 1024) for x in files)
    sums = [f"{_digest(x)}  {x.relative_to(plan.stage)}" for x in files]
    directory.mkdir()
    architecture = _run(["dpkg", "--print-architecture"]).stdout.strip()
    tools = "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles"
    control = (HERE / "control.in").read_text()
    (directory / "control").write_text(
        control.format(
            version=plan.version,
            architecture=architecture,
            maintainer=plan.maintainer,
            kibibytes=kibibytes,
            depends=", ".join([*depends, tools]),
        )
    )
    (directory / "md5sums").write_text("".join(f"{line}\n" for line in sums))
    (directory / "conffiles").write_text("".join(f"{name}\n" for name in CONFFILES))
    for name in SCRIPTS:
        shutil.copy(HERE / name, directory / name)
        (directory / name).chmod(0o755)


def _set_times(plan: Plan) -> None:
    for path in [*_files(plan.stage), plan.stage]:
        os.utime(path, (plan.epoch, plan.epoch), follow_symlinks=False)


def _pack(plan: Plan, output: Path) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(plan.epoch)}
    options: Command = [
        "--root-owner-group",
        f"-Z{plan.compression}",
        "--build",
        plan.stage,
        output,
    ]
    _run(["dpkg-deb", *options], env=environment)
    (package,) = output.glob(f"gitaly_{plan.version}_*.deb")
    return package


def _files(directory: Path) -> Iterator[Path]:
    yield from sorted(directory.rglob("*"))


def _digest(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _copy(source: Path, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    target = shutil.copyfile(source, directory / source.name)
    target.chmod(0o644)


def _compress(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _run(
    command: Command, cwd: Path | None = None, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
