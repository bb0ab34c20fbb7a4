"""The file itself: TOML with the texts and positions of its errors."""

import re
from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Final, TypeGuard

import tomli

from gitaly.config.decode import Decoded, Dialect, Misfit, decode
from gitaly.config.errors import ConfigError, TOMLError
from gitaly.config.go_text import quote
from gitaly.config.model import Config
from gitaly.config.positions import Form, Spot, line_and_column, positions
from gitaly.config.schema import ELEMENT, GO_KIND, Kind

STATEMENT: Final = re.compile(r"\s*(?P<key>.*?)\s*=")
DECLARED_TWICE: Final = re.compile(r"Cannot declare \((?P<names>.*)\) twice")


def decode_toml(source: str | bytes) -> Decoded:
    """The tree of a file. TOMLError if it is not TOML or holds a value of the wrong type.

    Plain ConfigError where the original has no position to tell: for a key that is given twice, a
    negative number that must not be negative, an array or table in place of a single value.
    """
    text = _text(source).replace("\r\n", "\n")
    try:
        raw = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise _syntax_error(text, error) from error
    except RecursionError as error:
        raise ConfigError("load toml: toml: nested too deeply") from error
    decoded = decode(raw, Config, Dialect.TOML)
    if decoded.misfits:
        _raise_first(text, decoded.misfits)
    return decoded


def _text(source: str | bytes) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        good = source[: error.start].decode("utf-8")
        raise TOMLError(*line_and_column(good, len(good)), "invalid UTF-8") from error


def _syntax_error(text: str, error: tomli.TOMLDecodeError) -> ConfigError:
    line = text.split("\n")[error.lineno - 1]
    if error.msg == "Cannot overwrite a value" and (statement := STATEMENT.match(line)):
        return ConfigError(f"load toml: toml: key {statement['key']} is already defined")
    if twice := DECLARED_TWICE.match(error.msg):
        name = twice["names"].rstrip(",").rpartition(", ")[2].strip("'")
        return ConfigError(f"load toml: toml: table {name} already exists")
    detail = error.msg[:1].lower() + error.msg[1:]
    return TOMLError(error.lineno, error.colno, detail)


def _raise_first(text: str, misfits: Iterable[Misfit]) -> None:
    """Raise for the misfit that stands first in the text; the original stops there too."""
    spots = positions(text)
    for misfit in sorted(misfits, key=lambda misfit: spots[misfit.path].offset):
        spot = spots[misfit.path]
        if plain := _plain_text(misfit, spot):
            raise ConfigError(f"load toml: {plain}")
        if detail := _detail(misfit, spot):
            raise TOMLError(*line_and_column(text, spot.offset), detail)


def _plain_text(misfit: Misfit, spot: Spot) -> str | None:
    """The text of an error without a position; None for an error that has one."""
    value, kind = misfit.value, misfit.kind
    if isinstance(value, list) and misfit.detail is None:
        what = "array table" if spot.form is Form.ARRAY_TABLE else "array"
        return f"toml: cannot decode TOML {what} into {_target(misfit)}"
    if kind is Kind.UINT and _is_integer(value) and -(2**63) <= value < 0:
        return f"toml: negative number {value} does not fit in an uint"
    if isinstance(value, dict) and value and spot.form is Form.TABLE and kind not in ELEMENT:
        return f"unhandled kv part: {GO_KIND[kind]}"
    return None


def _detail(misfit: Misfit, spot: Spot) -> str | None:
    """The text of an error that has a position; None for what is no error: an empty header."""
    value, kind = misfit.value, misfit.kind
    if misfit.detail is not None:
        return misfit.detail
    if isinstance(value, dict) and spot.form is Form.VALUE:
        return f"cannot store inline table in Go type {GO_KIND[kind]}"
    if isinstance(value, dict):
        return "cannot store a table in a slice" if kind in ELEMENT else None
    if isinstance(value, bool):
        return f"cannot assign boolean to a {str(value).lower()}"
    if isinstance(value, float):
        return f"float cannot be assigned to {GO_KIND[kind]}"
    if _is_integer(value) and kind in (Kind.INT, Kind.UINT):
        return (
            "couldn't parse decimal number: strconv.ParseInt: "
            f"parsing {quote(str(value))}: value out of range"
        )
    return f"cannot decode TOML {_name(value)} into {_target(misfit)}"


def _target(misfit: Misfit) -> str:
    return f"key {misfit.key} of type {misfit.kind}"


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(value: object) -> str:
    match value:
        case str():
            return "string"
        case int():
            return "integer"
        case datetime(tzinfo=None):
            return "local datetime"
        case datetime():
            return "datetime"
        case date():
            return "local date"
        case time():
            return "local time"
    return type(value).__name__
