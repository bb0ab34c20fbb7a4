"""The texts of the package that are made from what is in it: copyright, control, changelog."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from fnmatch import fnmatch
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

LICENCE_FILE: Final = re.compile(
    r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^.]*(\.txt|\.md)?", re.IGNORECASE
)
RULE: Final = "=" * 78


class UnexplainedLibrary(Exception):
    """A wheel carries a shared library of which bundled.toml says nothing."""


def copyright_text(site_packages: Path, bundled: Path) -> str:
    """Who made what is in the package, and under which terms; all texts that the wheels carry."""
    libraries = tomllib.loads(bundled.read_text())["library"]
    _require_explained(site_packages, libraries)
    found = sorted(distributions(path=[str(site_packages)]), key=lambda each: each.name.lower())
    parts = [
        "/usr/lib/gitaly has the node itself (the Python package gitaly) and these Python packages,"
        "\neach as its authors publish it on https://pypi.org.",
        "\n".join(_about(each) for each in found),
        "Libraries inside binary packages of the above:",
        "\n".join(
            f"  {each['name']} (in {each['wheel']}): {each['licence']}" for each in libraries
        ),
        "On Debian /usr/share/common-licenses has the texts of the GPL, version 2, and of the"
        "\nApache License, version 2.0.",
    ]
    texts = [text for each in found for text in _licences(each)]
    return "\n\n".join(parts) + "\n\n" + "\n".join(texts)


def _about(distribution: Distribution) -> str:
    metadata: Mapping[str, Any] = distribution.metadata.json
    licence = metadata.get("license_expression") or metadata.get("license")
    if not licence:
        classifiers = [x for x in metadata.get("classifier", []) if x.startswith("License ::")]
        licence = ", ".join(x.rpartition(" :: ")[2] for x in classifiers) or "no licence is stated"
    return f"  {distribution.name} {distribution.version}: {str(licence).splitlines()[0]}"


def _licences(distribution: Distribution) -> Iterator[str]:
    for file in sorted(distribution.files or [], key=str):
        if LICENCE_FILE.fullmatch(file.name):
            text = Path(str(file.locate())).read_text("utf-8").strip("\n")
            yield f"{RULE}\n{distribution.name}: {file.name}\n{RULE}\n{text}\n"


def _require_explained(site_packages: Path, libraries: list[Mapping[str, Any]]) -> None:
    patterns = [pattern for each in libraries for pattern in each.get("files", [])]
    for library in sorted(site_packages.glob("*.libs/*")):
        if not any(fnmatch(library.name, pattern) for pattern in patterns):
            raise UnexplainedLibrary(f"{library.name}: say in bundled.toml what it is")


def changelog_text(version: str, maintainer: str, epoch: int) -> str:
    """The Debian changelog; what users notice is in the project's own."""
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))
    return (
        f"gitaly ({version}) unstable; urgency=medium\n\n"
        "  * Built from the sources of the project; changelog.gz says what is new.\n\n"
        f" -- {maintainer}  {date}\n"
    )
