import time

import pytest

from gitaly.linguist import Detector, Languages


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages.load()


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        ("a.py", "x", "Python"),
        ("A.PY", "x", "Python"),
        ("dir.rb/Makefile", "", "Makefile"),
        ("CMakeLists.txt", "", "CMake"),
        ("a.h", "int x;\n", "C"),
        ("a.h", "#include <string>\nclass A {\n", "C++"),
        ("a.h", "@interface A\n", "Objective-C"),
        ("a.m", '#import "a.h"\n', "Objective-C"),
        ("a.m", "function f()\n% x\n", "MATLAB"),
        ("a.ts", "let x\n", "TypeScript"),
        ("a.ts", '<?xml version="1.0"?>\n<TS>\n', "XML"),
        ("a.pl", "use strict;\n", "Perl"),
        ("a.rs", "fn main() {}\n", "Rust"),
        ("a.html.erb", "", "HTML+ERB"),
        ("script", "#!/usr/bin/env python3.11\n", "Python"),
        ("script", "#!/usr/bin/env -S FOO=1 ruby -w\n", "Ruby"),
        ("script", "#! /bin/sh -e\n", "Shell"),
        ("x.txt", "# -*- mode: ruby -*-\n", "Ruby"),
        ("x", "-*- c++ -*-\n", "C++"),
        ("x", "a\n# vim: set sw=2 ft=perl:\n", "Perl"),
        ("x", '<?xml version="1.0"?>\n', "XML"),
        ("a.html", '<?xml version="1.0"?>\n<html>\n', "HTML"),
        ("a.pl", '<?xml version="1.0"?>\n', "Perl"),
        ("script", '#!/bin/sh\n# next \\\nexec tclsh "$0" ${1+"$@"}\n', "Tcl"),
        ("script", '#!/bin/sh\n#\n#\n#\n#\nexec tclsh "$0" "$@"\n', "Shell"),
        ("a.v", "Require Import Arith.\n", "Rocq Prover"),
        ("a.nbp", "", "Wolfram Language"),
        ("a.py", "\0", ""),
        ("unknown", "text", ""),
        ("a.unknown", "#!\n", ""),
    ],
)
def test_languages_are_detected(
    languages: Languages, path: str, content: str, language: str
) -> None:
    assert Detector(languages).language(path.encode(), content.encode()) == language


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        (
            "a.sql",
            "SELECT 1;\n",
            "SQL",
        ),  # PLSQL, TSQL and others have other extensions of their own
        ("a.s", "nop\n", "Unix Assembly"),
        ("a.spec", "x\n", "RPM Spec"),
        ("a.m", "x\n", "Objective-C"),
        ("a.es", "x\n", "JavaScript"),  # neither's own; Erlang is less popular
        ("a.cue", "x\n", "CUE"),  # Cue Sheet's, too
        ("script", "#!/usr/bin/perl\n", "Perl"),  # or Pod
        ("a.4x", "x\n", "Roff"),
        ("a.man.in", "x\n", "Roff"),
    ],
)
def test_of_languages_that_nothing_tells_apart_the_likeliest_is_taken(
    languages: Languages, path: str, content: str, language: str
) -> None:
    assert Detector(languages).language(path.encode(), content.encode()) == language


def test_what_is_known_of_a_language(languages: Languages) -> None:
    python = languages.get("Python")
    assert python is not None
    assert (python.type, python.id, languages.color("Python")) == ("programming", 303, "#3572A5")
    assert languages.color("Nonesuch") == "#e58de7"  # the beginning of the name's SHA-256
    assert languages.name_of("golang") == languages.name_of("Go") == "Go"
    assert languages.name_of("visual basic .net") == "Visual Basic .NET"
    assert languages.name_of("coq") == languages.name_of("rocq prover") == "Rocq Prover"
    assert languages.get("Coq") is None
    assert languages.name_of("nonesuch") is None
    assert languages.is_counted("HTML")
    assert not languages.is_counted("JSON")
    assert not languages.is_counted("Nonesuch")


@pytest.mark.parametrize("path", [b"vendor/a.go", b"node_modules/x/y.js", b"a/jquery.min.js"])
def test_other_peoples_code_is_known_by_its_path(languages: Languages, path: bytes) -> None:
    assert languages.is_vendored(path)
    assert not languages.is_vendored(b"src/a.js")


def test_documentation_is_known_by_its_path(languages: Languages) -> None:
    assert languages.is_documentation(b"docs/index.html")
    assert languages.is_documentation(b"README.md")
    assert not languages.is_documentation(b"src/docs.py")


def test_content_made_to_be_slow_is_not(languages: Languages) -> None:
    detector = Detector(languages)
    started = time.process_time()
    for extension in languages.rules:
        for piece in (b"vim: ", b"-*- ", b"a(", b"\\begin{", b"<", b"  \t", b"%{;", b"x.y "):
            detector.language(f"a{extension}".encode(), (piece * 16384)[:16384])
    assert time.process_time() - started < 60  # with backtracking: hours
