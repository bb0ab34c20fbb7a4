"""What is different between two configurations, and the one that a running node can have. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, TypeVar

from gitaly.config import Config, Origin
from gitaly.config.schema import Key, Kind, Section, all_keys, keys_of

INDEX: Final = re.compile(r"\[\d+\]")
EVERY_KEY: Final = tuple(path for path, _ in all_keys(Config))

AnySection = TypeVar("AnySection", bound=Section)


def matching(patterns: Iterable[str]) -> frozenset[str]:
    """The keys that patterns mean: "logging.level"; with a star at the end all that begin so."""
    patterns = tuple(patterns)
    return frozenset(path for path in EVERY_KEY if any(_matches(path, p) for p in patterns))


def _matches(path: str, pattern: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def changed_keys(old: Section, new: Section, path: str = "") -> Iterator[str]:
    """Keys whose values differ: "concurrency[1].max_queue_size". No values: some are secrets.

    An array of tables that has become longer or shorter is named as a whole: "concurrency[]".
    """
    for key in keys_of(type(new)):
        here = f"{path}{key.toml}"
        before, after = getattr(old, key.attribute), getattr(new, key.attribute)
        if before == after:
            continue
        if key.kind is Kind.TABLE:
            yield from changed_keys(before, after, f"{here}.")
        elif key.kind is not Kind.TABLES:
            yield here
        elif len(before) != len(after):
            yield f"{here}[]"
        else:
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from changed_keys(one, other, f"{here}[{index}].")


def is_among(changed: str, keys: frozenset[str]) -> bool:
    """Whether what `changed_keys` names belongs to a set of keys."""
    plain = INDEX.sub("[]", changed)
    if plain.endswith("[]"):
        return any(key.startswith(plain) for key in keys)
    return plain in keys


def attainable(running: Config, wanted: Config, keys: frozenset[str]) -> Config:
    """What a running node can have of another configuration: its values for these keys."""
    for table in _switched(running, wanted):
        keys = frozenset(key for key in keys if not key.startswith(f"{table}."))
    merged = _merged(running, wanted, keys, "")
    return replace(merged, origin=_origin(running.origin, wanted.origin, keys))


def _switched(running: Config, wanted: Config) -> Iterator[str]:
    """Tables that are switched on or off, which a running node cannot do. They stay as they are as
    a whole, for the defaults of their other keys depend on it."""
    if running.pack_objects_cache.enabled != wanted.pack_objects_cache.enabled:
        yield "pack_objects_cache"
    if running.archive_cache.enabled != wanted.archive_cache.enabled:
        yield "archive_cache"
    if running.is_standalone != wanted.is_standalone:
        yield "gitlab"


def _merged(running: AnySection, wanted: AnySection, keys: frozenset[str], path: str) -> AnySection:
    values: dict[str, Any] = {}
    for key in keys_of(type(running)):
        here, value = f"{path}{key.toml}", getattr(wanted, key.attribute)
        if _is_whole(key, here, keys):
            values[key.attribute] = value  # with what was computed from its keys
        elif key.kind is Kind.TABLE:
            own = getattr(running, key.attribute)
            values[key.attribute] = _merged(own, value, keys, f"{here}.")
    return replace(running, **values)  # type: ignore[type-var]  # every Section is a dataclass


def _is_whole(key: Key, path: str, keys: frozenset[str]) -> bool:
    """Whether a key, or everything below it, is among the keys."""
    if key.kind not in (Kind.TABLE, Kind.TABLES) or key.detail is None:
        return path in keys
    below = f"{path}." if key.kind is Kind.TABLE else f"{path}[]."
    return all(one in keys for one, _ in all_keys(key.detail, below))


def _origin(running: Origin, wanted: Origin, keys: frozenset[str]) -> Origin:
    """Of each table: as it was written where its values come from."""
    taken = {_table(key) for key in keys}
    given = {key for key in running.given if _table(key) not in taken}
    given |= {key for key in wanted.given if _table(key) in taken}
    return replace(wanted, given=frozenset(given))


def _table(key: str) -> str:
    return re.split(r"[.\[]", key, maxsplit=1)[0]
