"""A good configuration, and how tests read an answer about a bad one."""

import json

from gitaly.config import load_text, problems, validate_text

GOOD = """
socket_path = "<root>/socket"
bin_dir = "<root>/bin"

[[storage]]
name = "default"
path = "<root>/repositories"

[gitlab]
url = "http://localhost:3000"
secret_file = "<root>/secret"
"""

Error = tuple[list[str] | None, str]


def told(text: str) -> list[str]:
    """The problems of a configuration as "a.b: message"."""
    return [str(problem) for problem in problems(load_text(text))]


def answer(text: str) -> list[Error]:
    """The errors that `gitaly configuration validate` prints."""
    outcome = validate_text(text)
    assert (outcome.stderr, outcome.exit_code) == ("", 2)
    return [(e.get("key"), e["message"]) for e in json.loads(outcome.stdout)["errors"]]
