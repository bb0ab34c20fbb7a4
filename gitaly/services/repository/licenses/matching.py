"""Recognising the text of a licence: by groups of three words that it shares with a known one.

The texts come with the package `identify`. Copyright lines, the numbers of clauses, markup, case,
punctuation and line breaks don't count.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from identify.vendor.licenses import LICENSES

from gitaly.services.repository.licenses.catalogue import CATALOGUE, License

CONFIDENT: Final = 0.87  # what both texts share, of both together: that of 3/4 of a text
SURE: Final = 0.95  # from here on nothing is left to doubt
CONTAINED: Final = 0.9  # what the text has of a known one, whatever else it says
SHORT_BYTES: Final = 1500  # a text that only points to a licence is not longer
_COPYRIGHT: Final = re.compile(
    r"^\W*(?:copyright\b\W*(?:\(c\)|©|\d{4}|\[year\]|<year>)|(?:\(c\)|©)\s*\d{4}).*$", re.MULTILINE
)
_CLAUSE: Final = re.compile(
    r"^[ \t>#/*]*(?:\d{1,2}[.)]|\([a-z0-9]\))[ \t]|\ball rights reserved\b", re.MULTILINE
)
_MARKUP: Final = re.compile(r"<[^>@]{1,80}>")
_WORD: Final = re.compile(r"[a-z0-9]+")
_SCHEME: Final = re.compile(r"https?://(?:www\.)?")
Trigram = tuple[str, str, str]
Trigrams = Counter[Trigram]


class Match(NamedTuple):
    """A licence that a text may be."""

    license: License
    confidence: float  # 1: certain
    explained: int = 0  # groups of words of the licence that the text has, less those it lacks

    @property
    def rank(self) -> tuple[float, int, str]:
        """Of licences in several files that of the lowest rank is told. Of those that are beyond
        doubt it is the shorter one, as where MIT's and Apache's are offered for choice.
        """
        return -min(self.confidence, SURE), self.explained, self.license.short_name


class LicenseMatcher:
    """Knows the texts; making one takes some tenths of a second."""

    def __init__(self) -> None:
        self._known = [
            (CATALOGUE[name], _trigrams(text)) for name, text in LICENSES if name in CATALOGUE
        ]

    def best(self, text: str) -> Match | None:
        """What the text is most likely; None: nothing that is known. 10 ms.

        Of licences that have much in common, it is the one that explains most of it: three clauses
        of BSD rather than two of them. Of others, it is the one that comes first.
        """
        if len(text) <= SHORT_BYTES:
            linked = _linked(text)
            if linked is not None:
                return Match(linked, 1.0)
        in_order = list(_in_order(text))
        trigrams = Counter(in_order)
        matches = [
            (match, known)
            for license_, known in self._known
            if (match := _match(license_, known, trigrams)) is not None
        ]
        matches.sort(key=lambda pair: -pair[0].explained)
        leaders: list[tuple[Match, Trigrams]] = []
        for match, known in matches:
            if not any(_are_akin(known, other) for _, other in leaders):
                leaders.append((match, known))
        if len(leaders) > 1:
            leaders.sort(key=lambda pair: _place(in_order, pair[1]))
        return leaders[0][0] if leaders else None


def _match(license_: License, known: Trigrams, found: Trigrams) -> Match | None:
    shared = (known & found).total()
    explained = 2 * shared - known.total()
    likeness = 2 * shared / max(1, known.total() + found.total())
    if likeness >= CONFIDENT:
        return Match(license_, likeness, explained)
    contained = shared / max(1, known.total())
    return Match(license_, CONFIDENT * contained, explained) if contained >= CONTAINED else None


def _are_akin(one: Trigrams, other: Trigrams) -> bool:
    """Whether half of the shorter text is in the longer one."""
    return 2 * (one & other).total() >= min(one.total(), other.total())


def _place(in_order: Sequence[Trigram], known: Trigrams) -> int:
    """Where in a text a licence is: the middle of what belongs to it."""
    places = [number for number, trigram in enumerate(in_order) if trigram in known]
    return places[len(places) // 2]


def _trigrams(text: str) -> Trigrams:
    return Counter(_in_order(text))


def _in_order(text: str) -> Iterable[Trigram]:
    plain = _CLAUSE.sub(" ", _COPYRIGHT.sub("", text.lower()))
    words = _WORD.findall(_MARKUP.sub(" ", plain))
    return zip(words, words[1:], words[2:], strict=False)


def _linked(text: str) -> License | None:
    """The licence whose place on the web the text names."""
    there = _places(_SCHEME.sub(" ", text.lower()).split())
    for license_ in CATALOGUE.values():
        if there & _places([_SCHEME.sub("", license_.url.lower())]):
            return license_
    return None


def _places(urls: Iterable[str]) -> set[str]:
    return {url.strip("<>()[].,;:\"'").rstrip("/") for url in urls if "/" in url}
