"""Recognising the text of a licence: by groups of three words that it shares with a known one.

The texts come with the package `identify`. Copyright lines, markup, case, punctuation and line
breaks don't count.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from identify.vendor.licenses import LICENSES

from gitaly.services.repository.licenses.catalogue import CATALOGUE, License

CONFIDENT: Final = 0.87  # what both texts share, of both together: that of 3/4 of a text
CONTAINED: Final = 0.9  # what the text has of a known one, whatever else it says
SHORT_BYTES: Final = 1500  # a text that only points to a licence is not longer
_COPYRIGHT: Final = re.compile(
    r"^\W*(?:copyright\b\W*(?:\(c\)|©|\d{4}|\[year\]|<year>)|(?:\(c\)|©)\s*\d{4}).*$", re.MULTILINE
)
_MARKUP: Final = re.compile(r"<[^>@]{1,80}>")
_WORD: Final = re.compile(r"[a-z0-9]+")
_SCHEME: Final = re.compile(r"https?://(?:www\.)?")
Trigrams = Counter[tuple[str, str, str]]


class Match(NamedTuple):
    """A licence that a text may be."""

    license: License
    confidence: float  # 1: certain


class LicenseMatcher:
    """Knows the texts; making one takes some tenths of a second."""

    def __init__(self) -> None:
        self._known = [
            (CATALOGUE[name], _trigrams(text)) for name, text in LICENSES if name in CATALOGUE
        ]

    def best(self, text: str) -> Match | None:
        """What the text is most likely; None: nothing that is known. 10 ms."""
        if len(text) <= SHORT_BYTES:
            linked = _linked(text)
            if linked is not None:
                return Match(linked, 1.0)
        trigrams = _trigrams(text)
        matches = (_match(license_, known, trigrams) for license_, known in self._known)
        return max(filter(None, matches), key=lambda match: match.confidence, default=None)


def _match(license_: License, known: Trigrams, found: Trigrams) -> Match | None:
    shared = (known & found).total()
    likeness = 2 * shared / max(1, known.total() + found.total())
    if likeness >= CONFIDENT:
        return Match(license_, likeness)
    contained = shared / max(1, known.total())
    return Match(license_, CONFIDENT * contained) if contained >= CONTAINED else None


def _trigrams(text: str) -> Trigrams:
    plain = _MARKUP.sub(" ", _COPYRIGHT.sub("", text.lower()))
    words = _WORD.findall(plain)
    return Counter(zip(words, words[1:], words[2:], strict=False))


def _linked(text: str) -> License | None:
    """The licence whose place on the web the text names."""
    there = _places(_SCHEME.sub(" ", text.lower()).split())
    for license_ in CATALOGUE.values():
        if there & _places([_SCHEME.sub("", license_.url.lower())]):
            return license_
    return None


def _places(urls: Iterable[str]) -> set[str]:
    return {url.strip("<>()[].,;:\"'").rstrip("/") for url in urls if "/" in url}
