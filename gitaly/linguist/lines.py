"""The beginning of a file as lines; only a line feed ends one."""

from collections.abc import Iterator


class Lines:
    """Of some content. A line feed at the end ends the last line; no empty one follows it."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        lines = self.content.split(b"\n")
        return iter(lines if lines[-1] else lines[:-1])

    def first(self, count: int) -> list[bytes]:
        """At most so many, from the beginning."""
        lines = self.content.split(b"\n", count)
        return lines[:count] if len(lines) > count or lines[-1] else lines[:-1]

    def last_two(self) -> list[bytes]:
        """The last one, and then the one before; a last one of at most one byte does not count.

        Source: go-enry, data/generated.go.
        """
        found: list[bytes] = []
        end = len(self.content)
        while end > 0 and len(found) < 2:
            start = self.content.rfind(b"\n", 0, end) + 1
            if start < len(self.content) - 1:
                found.append(self.content[start:end])
            end = start - 1
        return found
