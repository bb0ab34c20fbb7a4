"""The answer of `gitaly configuration validate`, for people and for tools."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gitaly.config.errors import ConfigError, Problem, TOMLError
from gitaly.config.load import load_text
from gitaly.config.validate import problems

# Go's JSON encoder escapes what could end a script or a line when the text is put into a page.
GO_ESCAPES: Final = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
)


@dataclass(frozen=True, slots=True)
class ValidationOutcome:
    """What the command prints, byte for byte, and how it ends: 0 good, 2 bad, 1 could not tell."""

    stdout: str
    stderr: str
    exit_code: int


def validate_text(source: str | bytes) -> ValidationOutcome:
    """Load a configuration, which may run its `config_command`, and tell all that is wrong."""
    try:
        config = load_text(source)
    except TOMLError as error:
        text = f"line {error.line} column {error.column}: toml: {error.detail}"
        return ValidationOutcome(problems_json([Problem((), text)]), "", 2)
    except ConfigError as error:
        return ValidationOutcome("", f"processing input data: {error}", 1)
    if everything := problems(config):
        return ValidationOutcome(problems_json(everything), "", 2)
    return ValidationOutcome("", "", 0)


def problems_json(problems: Iterable[Problem]) -> str:
    """The problems as Gitaly prints them: indented by two, escaped as Go does, a newline behind."""
    errors = [
        {"key": list(problem.key), "message": problem.message}
        if problem.key
        else {"message": problem.message}
        for problem in problems
    ]
    return json.dumps({"errors": errors}, indent=2, ensure_ascii=False).translate(GO_ESCAPES) + "\n"
