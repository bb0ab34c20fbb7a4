"""docs/configuration.md and config.toml.example say what the typed configuration says."""

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from gitaly.config import Config, format_duration, load_text, problems
from gitaly.config.inactive import INACTIVE
from gitaly.config.legacy import LEGACY_KEYS
from gitaly.config.schema import all_keys

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/configuration.md").read_text()
EXAMPLE = (ROOT / "config.toml.example").read_text()
ROW = re.compile(r"^\| `(?P<key>[^`]+)` \| (?P<kind>[^|]+) \| (?P<default>[^|]+) \|", re.M)
COMMENTED_OUT = re.compile(r"^# (?=\[+[a-z_.-]+\]+$|[a-z0-9_]+ = )", re.M)

KINDS = {path: key.kind for path, key in all_keys(Config)}
REQUIRED = {"storage[].name", "storage[].path", "git.config[].key", "concurrency[].rpc"}

BARE = load_text(
    "[[storage]]\n[[concurrency]]\n[[git.config]]\n[[standalone.rule]]\n"
    "[[cgroups.repositories.named]]\n"
)
WITHOUT_STORAGES = load_text("")
ENABLED = load_text(
    "[pack_objects_cache]\nenabled = true\n[archive_cache]\nenabled = true\n"
    "[raft]\nenabled = true\n[cgroups.repositories]\ncount = 1\n"
    "[adaptive_limiting.psi_pressure]\n"
    "memory.enabled = true\nio.enabled = true\ncpu.enabled = true\n"
)


def value(config: Config, path: str) -> Any:  # Any: keys hold values of all kinds
    path = re.sub(r"^storage\[\]", "storages[]", path).replace("-", "_")
    return reduce(attribute, path.split("."), config)


def attribute(section: Any, name: str) -> Any:
    found = getattr(section, name.removesuffix("[]"))
    return found[0] if name.endswith("[]") else found


def shown(value: object) -> str:
    match value:
        case timedelta():
            return format_duration(value)
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(shown(element) for element in value)}]"
    return repr(value)


def default(path: str) -> str:
    if path in REQUIRED:
        return "required"
    if path == "daily_maintenance.storages":
        return "all storages"
    if "[]" in path:
        return f"`{shown(value(BARE, path))}`"
    usual = shown(value(WITHOUT_STORAGES, path))
    enabled = shown(value(ENABLED, path))
    if usual == enabled or ENABLED.origin.gives(path):
        return f"`{usual}`"
    return f"`{usual}`, when enabled `{enabled}`"


def test_the_page_has_a_row_for_every_key_and_no_other() -> None:
    assert sorted(row["key"] for row in ROW.finditer(PAGE)) == sorted(KINDS)


@pytest.mark.parametrize("row", list(ROW.finditer(PAGE)), ids=lambda row: row["key"])
def test_a_row_has_the_type_and_the_default_of_its_key(row: re.Match[str]) -> None:
    assert (row["kind"], row["default"]) == (KINDS[row["key"]], default(row["key"]))


def test_the_page_names_what_is_not_active() -> None:
    _, _, section = PAGE.partition("### Not active in this version\n")
    paragraph = section.partition("\n## ")[0].strip().rpartition("\n\n")[2]
    assert re.findall(r"`([^`]+)`", paragraph) == list(INACTIVE)


def test_the_page_names_the_keys_of_older_versions() -> None:
    _, _, section = PAGE.partition("### Unknown keys\n")
    named = re.findall(r"`\[*([^`\]]+)\]*`", section.partition("\n### ")[0])
    assert set(named) == LEGACY_KEYS


def test_the_smallest_file_of_the_page_loads() -> None:
    smallest = PAGE.partition("```toml\n")[2].partition("```")[0]
    config = load_text(smallest)
    assert config.socket_path == "/run/gitaly/gitaly.socket"
    assert [storage.name for storage in config.storages] == ["default"]


def test_the_example_is_a_node_that_needs_nothing_else() -> None:
    config = load_text(EXAMPLE)
    assert config.origin.given == {"socket_path", "storage", "storage.name", "storage.path"}


@pytest.fixture
def complete(tmp_path: Path) -> str:
    """The example with every line active, in a directory of its own."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "secrets-as-json").write_text("#!/bin/sh\necho '{}'\n")
    (tmp_path / "secrets-as-json").chmod(0o700)
    return COMMENTED_OUT.sub("", EXAMPLE).replace("/etc/gitaly", str(tmp_path))


def given(config: Config) -> Iterator[str]:
    arrays = {
        "storage",
        "git.config",
        "concurrency",
        "standalone.rule",
        "cgroups.repositories.named",
    }
    for path in sorted(config.origin.given - arrays):
        array = next((a for a in arrays if path.startswith(f"{a}.")), None)
        yield path.replace(array, f"{array}[]", 1) if array else path


def test_the_example_shows_every_key_and_no_other(complete: str) -> None:
    config = load_text(complete)
    assert sorted(given(config)) == sorted(KINDS)
    assert (config.origin.unknown_keys, config.origin.legacy_keys) == ((), ())


def test_the_values_of_the_example_break_no_rule_but_those_about_files(complete: str) -> None:
    about_files = re.compile(r"doesn't exist: |file permission ")
    texts = [str(problem) for problem in problems(load_text(complete))]
    assert [text for text in texts if not about_files.search(text)] == [
        "auth.token.token_file: token and token_file are mutually exclusive"
    ]
