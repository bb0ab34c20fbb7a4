"""From what a parser found to a tree of typed values, with a list of what did not fit.

The tree has the attributes of the sections as names and holds only what was given, so that a
second source can be laid over a first before defaults are filled in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gitaly.config.durations import parse_duration
from gitaly.config.go_text import float_text, quote
from gitaly.config.schema import ELEMENT, Key, Kind, Section, keys_of

Tree = dict[str, Any]  # Any: what a key of this name holds is in the section, see `build`
Path = tuple[str | int, ...]


class Dialect(Enum):
    """Where the raw values come from."""

    TOML = "toml"
    JSON = "json"

    def name_of(self, key: Key) -> str:
        """How this source spells the key."""
        return key.toml if self is Dialect.TOML else key.json


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value of the wrong type. `detail` is set if the text of a value was wrong, not its type.

    `path` is spelled as the source spells it, `key` (dotted, no indices) as the reference does.
    """

    path: Path
    key: str
    kind: Kind
    value: object
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was understood, and what was not: `unknown` keys have canonical names before them."""

    tree: Tree
    unknown: list[Path]
    misfits: list[Misfit]


def decode(raw: Mapping[str, object], section: type[Section], dialect: Dialect) -> Decoded:
    """Names match exactly or, failing that, whatever their case; unknown keys are no error."""
    decoder = _Decoder(dialect)
    tree = decoder.table(raw, section, _Place())
    return Decoded(tree, decoder.unknown, decoder.misfits)


def merge(base: Tree, over: Tree) -> Tree:
    """`over` laid over `base`. Tables are merged, arrays replaced.

    A table in an array is laid over the table that had its place. That is how Go's JSON decoder
    treats values that exist; configurations are written for it.
    """
    merged = dict(base)
    for name, value in over.items():
        merged[name] = _merged(merged.get(name), value)
    return merged


def build(section: type[Section], tree: Tree) -> Any:  # Any: an instance of `section`
    """The section with the values of the tree and its own defaults for all others."""
    values = dict(tree)
    for key in keys_of(section):
        if key.attribute in tree and key.detail and key.kind is Kind.TABLE:
            values[key.attribute] = build(key.detail, tree[key.attribute])
        elif key.attribute in tree and key.detail and key.kind is Kind.TABLES:
            values[key.attribute] = tuple(build(key.detail, t) for t in tree[key.attribute])
    return section(**values)


def given_keys(section: type[Section], tree: Tree, path: str = "") -> Iterator[str]:
    """The dotted paths, without indices, of all that the tree holds."""
    for key in keys_of(section):
        if key.attribute not in tree:
            continue
        value, here = tree[key.attribute], f"{path}{key.toml}"
        if key.kind is Kind.TABLE and key.detail:
            yield from given_keys(key.detail, value, f"{here}.")
        elif key.kind is Kind.TABLES and key.detail:
            yield here
            for table in value:
                yield from given_keys(key.detail, table, f"{here}.")
        else:
            yield here


@dataclass(frozen=True, slots=True)
class _Place:
    """Where we are: in the spelling of the source, and in that of the reference."""

    raw: Path = ()
    known: Path = ()

    def at(self, name: str, key: Key) -> "_Place":
        return _Place((*self.raw, name), (*self.known, key.toml))

    def element(self, index: int) -> "_Place":
        return _Place((*self.raw, index), (*self.known, index))

    @property
    def dotted(self) -> str:
        return ".".join(part for part in self.known if isinstance(part, str))


class _Wrong(Exception):
    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail


class _Decoder:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.unknown: list[Path] = []
        self.misfits: list[Misfit] = []

    def table(self, raw: Mapping[str, object], section: type[Section], place: _Place) -> Tree:
        by_name = {self.dialect.name_of(key).lower(): key for key in keys_of(section)}
        tree: Tree = {}
        for name, value in raw.items():
            key = by_name.get(name.lower())
            if key is None:
                self.unknown.append((*place.known, name))
            elif value is not None:
                self._put(tree, key, value, place.at(name, key))
            elif key.kind in ELEMENT:  # null empties an array and leaves all else alone
                tree[key.attribute] = ()
        return tree

    def _put(self, tree: Tree, key: Key, value: object, place: _Place) -> None:
        try:
            fitted = self._fitted(key.kind, key.detail, value, place)
        except _Wrong as wrong:
            self.misfits.append(Misfit(place.raw, place.dotted, key.kind, value, wrong.detail))
            return
        if key.kind is Kind.TABLE:  # spelled twice, in different cases: both count
            fitted = merge(tree.get(key.attribute, {}), fitted)
        tree[key.attribute] = fitted

    def _fitted(self, kind: Kind, detail: type[Any] | None, value: object, place: _Place) -> Any:
        if kind is Kind.TABLE:
            if detail is None or not isinstance(value, Mapping):
                raise _Wrong
            return self.table(value, detail, place)
        if kind in ELEMENT:
            if not isinstance(value, list):
                raise _Wrong
            return self._elements(ELEMENT[kind], detail, value, place)
        return _scalar(kind, detail, value, self.dialect)

    def _elements(
        self, kind: Kind, detail: type[Any] | None, values: Sequence[object], place: _Place
    ) -> tuple[Any, ...]:
        fitted = []
        for index, value in enumerate(values):
            here = place.element(index)
            try:
                fitted.append(self._fitted(kind, detail, value, here))
            except _Wrong as wrong:
                self.misfits.append(Misfit(here.raw, here.dotted, kind, value, wrong.detail))
        return tuple(fitted)


def _merged(old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return merge(old or {}, new)
    if isinstance(new, tuple) and isinstance(old, tuple) and new and isinstance(new[0], dict):
        kept = old[: len(new)] + ({},) * (len(new) - len(old))
        return tuple(merge(before, table) for before, table in zip(kept, new, strict=True))
    return new


def _scalar(kind: Kind, detail: type[Any] | None, value: object, dialect: Dialect) -> Any:
    python = type(value)
    match kind:
        case Kind.STRING if python is str:
            return value
        case Kind.BOOL if python is bool:
            return value
        case Kind.INT if isinstance(value, int) and python is int and -(2**63) <= value < 2**63:
            return value
        case Kind.UINT if isinstance(value, int) and python is int and 0 <= value < 2**64:
            return value
        case Kind.FLOAT if isinstance(value, int | float) and python is not bool:
            return float(value)
        case Kind.DURATION | Kind.CHOICE:
            return _from_text(kind, detail, _text_of(value, dialect))
    raise _Wrong


def _text_of(value: object, dialect: Dialect) -> str:
    """What a TOML scalar was written as, more or less; JSON texts are strings only."""
    if isinstance(value, str):
        return value
    if dialect is Dialect.JSON or isinstance(value, Mapping | list):
        raise _Wrong
    if isinstance(value, bool):
        return "true" if value else "false"
    return float_text(value) if isinstance(value, float) else str(value)


def _from_text(kind: Kind, detail: type[Any] | None, text: str) -> Any:
    if kind is Kind.DURATION:
        try:
            return parse_duration(text)
        except ValueError as error:
            raise _Wrong(str(error)) from error
    if detail is None or text not in detail.__members__.values():
        raise _Wrong(f"unsupported TLS version: {quote(text)}")
    return detail(text)
