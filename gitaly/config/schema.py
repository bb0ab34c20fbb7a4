"""What the typed sections say about themselves: keys, their two spellings and their kinds.

A section is a frozen dataclass. The attribute is the key's spelling in the file unless the field's
metadata says otherwise: "toml" and "json" give other spellings, `NO_KEY` marks what we compute.
"""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

NO_KEY: Final = types.MappingProxyType({"key": False})

Unsigned = Annotated[int, "unsigned"]


class Section:
    """The base of every table of the configuration."""

    __slots__ = ()
    json_without_underscores: ClassVar[bool] = False


class Kind(StrEnum):
    """What a key holds, in the words of the operator's reference."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    FLOAT = "float"
    DURATION = "duration"
    CHOICE = "choice"
    TABLE = "table"
    STRINGS = "array of strings"
    FLOATS = "array of floats"
    TABLES = "array of tables"


ELEMENT: Final = {Kind.STRINGS: Kind.STRING, Kind.FLOATS: Kind.FLOAT, Kind.TABLES: Kind.TABLE}

GO_KIND: Final = {  # what error texts call the kinds
    Kind.STRING: "string",
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.UINT: "uint",
    Kind.FLOAT: "float64",
    Kind.DURATION: "int64",
    Kind.CHOICE: "uint16",
    Kind.TABLE: "struct",
    Kind.STRINGS: "slice",
    Kind.FLOATS: "slice",
    Kind.TABLES: "slice",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section. `detail`: the section of a table, the enum of a choice, else None."""

    attribute: str
    toml: str
    json: str
    kind: Kind
    detail: type[Any] | None = None


def keys_of(section: type[Section]) -> tuple[Key, ...]:
    """The keys of a section in the order of its fields."""
    hints = typing.get_type_hints(section, include_extras=True)
    return tuple(
        _key(section, field.name, field.metadata, hints[field.name])
        for field in fields(section)  # type: ignore[arg-type]  # every Section is a dataclass
        if field.metadata.get("key", True)
    )


def all_keys(section: type[Section], path: str = "") -> Iterator[tuple[str, Key]]:
    """Every key that holds a value, with its path: "socket_path", "storage[].name", …"""
    for key in keys_of(section):
        here = f"{path}{key.toml}"
        if key.kind is Kind.TABLE and key.detail:
            yield from all_keys(key.detail, f"{here}.")
        elif key.kind is Kind.TABLES and key.detail:
            yield from all_keys(key.detail, f"{here}[].")
        else:
            yield here, key


def _key(section: type[Section], name: str, metadata: typing.Mapping[str, str], hint: Any) -> Key:
    json_name = name.replace("_", "") if section.json_without_underscores else name
    toml_name = metadata.get("toml", name)
    kind, detail = _kind(hint)
    return Key(name, toml_name, metadata.get("json", json_name), kind, detail)


def _kind(hint: Any) -> tuple[Kind, type[Any] | None]:  # Any: a type hint can be many things
    simple = {
        str: Kind.STRING,
        bool: Kind.BOOL,
        int: Kind.INT,
        Unsigned: Kind.UINT,
        float: Kind.FLOAT,
        timedelta: Kind.DURATION,
        tuple[str, ...]: Kind.STRINGS,
        tuple[float, ...]: Kind.FLOATS,
    }
    if hint in simple:
        return simple[hint], None
    if typing.get_origin(hint) is tuple:
        return Kind.TABLES, typing.get_args(hint)[0]
    return (Kind.CHOICE if issubclass(hint, StrEnum) else Kind.TABLE), hint
