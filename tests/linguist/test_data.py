"""What the build takes of Linguist: the package's files, or newer ones that were given to it."""

import json
from pathlib import Path

import pytest

from gitaly.linguist import Detector, Languages

ROOT = Path(__file__).resolve().parent.parent.parent


def transcribed(target: Path, monkeypatch: pytest.MonkeyPatch) -> Languages:
    monkeypatch.syspath_prepend(str(ROOT))
    import hatch_build

    hatch_build.transcribe_linguist(target)
    assert (target / "LICENSE").read_text().startswith("linguist.json: GitHub Linguist")
    return Languages(json.loads((target / "linguist.json").read_text()))


def test_newer_files_take_the_place_of_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    language = {"type": "programming", "language_id": 1, "extensions": [".newer"]}
    # Linguist's own name for it is newer than the one that Gitaly knows it by.
    old = {"type": "data", "language_id": 2, "extensions": [".sls"]}
    contents = {
        "languages": {"Newer": language, "Salt": old},
        "heuristics": {"disambiguations": [], "named_patterns": {}},
        "vendor": ["^theirs/"],
        "documentation": ["^words/"],
    }
    for name, content in contents.items():
        # JSON is YAML, too.
        (given / f"{name}.yml").write_text(json.dumps(content))
    monkeypatch.setenv("LINGUIST_DATA", str(given))
    languages = transcribed(tmp_path / "data", monkeypatch)
    assert Detector(languages).language(b"a.newer", b"x") == "Newer"
    assert Detector(languages).language(b"a.sls", b"x") == "SaltStack"
    assert Detector(languages).language(b"a.py", b"x") == ""
    assert languages.is_vendored(b"theirs/a")


def test_a_file_that_is_missing_among_them_stops_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGUIST_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"languages\.yml"):
        transcribed(tmp_path / "data", monkeypatch)


def test_without_them_the_build_makes_what_is_installed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINGUIST_DATA", raising=False)
    languages = transcribed(tmp_path / "data", monkeypatch)
    assert Detector(languages).language(b"a.py", b"x") == "Python"
