"""What a cache keeps, in the words of its log, its errors and its metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gitaly.errors import prefixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The words of one cache."""

    name: str  # of its metrics and fields: "pack_objects"
    cache: str  # begins its lines in the log: "pack-objects cache"
    thing: str  # that it keeps: "pack"
    a_thing: str  # "a pack"
    program: str  # that makes it: "git pack-objects"
    error_prefix: str = ""  # begins the texts of its errors

    @property
    def key_field(self) -> str:
        """The field of the log that has the key of an entry."""
        return f"{self.name}_cache.key"

    def error(self, text: str) -> str:
        """The text of an error."""
        return f"{self.error_prefix}: {text}" if self.error_prefix else text

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Make the text of each error that passes one of its own."""
        if not self.error_prefix:
            yield
            return
        with prefixed(self.error_prefix):
            yield
