"""`config_command`: a program whose output, JSON, is laid over the file."""

import json
import os
import re
import shutil
import signal
import subprocess
from typing import Any, Final, Never

from gitaly.config.decode import Decoded, Dialect, Misfit, decode
from gitaly.config.errors import ConfigError
from gitaly.config.go_text import quote, quote_bytes, reason
from gitaly.config.model import Config

KEY_EXPECTED: Final = "looking for beginning of object key string"
LITERALS: Final = ("true", "false", "null")

# What Python's parser says, and what the original says of the character at that place.
COMPLAINTS: Final = {
    "Extra data": "after top-level value",
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": KEY_EXPECTED,
    "Illegal trailing comma before end of object": KEY_EXPECTED,
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Invalid control character at": "in string literal",
}


def decode_command(path: str, seconds: float | None = None) -> Decoded:
    """Run the program and decode what it prints; ConfigError if either fails.

    It gets no arguments and our own environment and working directory. What it prints to stderr is
    shown only when it fails. `seconds`: how long it and what it starts may take; None: for ever.
    """
    output = _output(path, seconds).decode("utf-8", "replace")
    try:
        return _decoded(_parsed(output))
    except ConfigError as error:
        raise ConfigError(f"unmarshalling generated config: {error}") from error


def _output(path: str, seconds: float | None) -> bytes:
    if "/" not in path and shutil.which(path) is None:
        raise ConfigError(
            f"running config command: exec: {quote(path)}: executable file not found in $PATH"
        )
    try:
        returncode, stdout, stderr = _run(path, seconds)
    except (OSError, ValueError) as error:
        raise ConfigError(f"running config command: fork/exec {path}: {reason(error)}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"running config command: no end within {seconds:g} seconds") from error
    if returncode:
        raise ConfigError(
            f"running config command: {_exit_text(returncode)}, stderr: {quote_bytes(stderr)}"
        )
    return stdout


def _run(path: str, seconds: float | None) -> tuple[int, bytes, bytes]:
    """Exit code and output. Raises OSError, ValueError, TimeoutExpired."""
    with subprocess.Popen(
        [path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=None if seconds is None else 0,  # else its children could hold our pipes
    ) as child:
        try:
            stdout, stderr = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise
        return child.returncode, stdout, stderr


def _exit_text(returncode: int) -> str:
    if returncode > 0:
        return f"exit status {returncode}"
    return f"signal: {(signal.strsignal(-returncode) or str(-returncode)).lower()}"


def _parsed(text: str) -> dict[str, object]:
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(_syntax_text(text, error)) from error
    except RecursionError as error:
        raise ConfigError("exceeded max depth") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"json: cannot unmarshal {_name(value)} into the configuration")
    return value


def _no_constant(name: str) -> Never:
    raise ConfigError(f"invalid character {name[0]!r} looking for beginning of value")


def _syntax_text(text: str, error: json.JSONDecodeError) -> str:
    at = error.pos
    if error.msg.startswith("Illegal trailing comma"):  # it points to the comma, we to what follows
        at = len(text) - len(text[at + 1 :].lstrip())
    if at >= len(text) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    if error.msg == "Expecting value":
        for literal in LITERALS:
            if text[at] == literal[0]:
                return _literal_text(text[at:], literal)
    if error.msg.startswith("Invalid \\"):
        return f"invalid character {_character(text[at + 1 : at + 2])} in string escape code"
    complaint = COMPLAINTS.get(error.msg, "looking for beginning of value")
    if error.msg == "Expecting ',' delimiter" and _innermost_is_array(text[:at]):
        complaint = "after array element"
    return f"invalid character {_character(text[at])} {complaint}"


def _literal_text(text: str, literal: str) -> str:
    for found, expected in zip(text, literal, strict=False):
        if found != expected:
            return (
                f"invalid character {_character(found)} in literal {literal} "
                f"(expecting {_character(expected)})"
            )
    return "unexpected end of JSON input"


def _innermost_is_array(text: str) -> bool:
    """Whether what is still open at the end of the text is an array."""
    brackets, closed = re.sub(r'[^][{}"]|"(?:[^"\\]|\\.)*"', "", text), 1
    while closed:
        brackets, closed = re.subn(r"\[\]|\{\}", "", brackets)
    return brackets.endswith("[")


def _character(character: str) -> str:
    return {"'": r"'\''", '"': "'\"'"}.get(character, f"'{quote(character)[1:-1]}'")


def _decoded(raw: dict[str, object]) -> Decoded:
    decoded = decode(raw, Config, Dialect.JSON)
    for misfit in decoded.misfits:
        raise ConfigError(misfit.detail or _type_text(misfit))
    return decoded


def _type_text(misfit: Misfit) -> str:
    what = _name(misfit.value)
    if isinstance(misfit.value, int | float) and misfit.kind in ("int", "uint"):
        what = what if isinstance(misfit.value, bool) else f"number {misfit.value}"
    return f"json: cannot unmarshal {what} into key {misfit.key} of type {misfit.kind}"


def _name(value: Any) -> str:  # Any: whatever JSON can hold
    names = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return names.get(type(value), "number")
