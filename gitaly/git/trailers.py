"""The trailers of commit messages, as git's formats print them.

Source: git-log(1), `%(trailers)`; Gitaly, internal/git/trailerparser (the limits).
"""

from typing import Final

TRAILERS_FORMAT: Final = "%(trailers:unfold,separator=%x00)"
MAXIMUM: Final = 64
LONGEST_KEY_BYTES: Final = 128
LONGEST_VALUE_BYTES: Final = 512


def parse_trailers(printed: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values of what TRAILERS_FORMAT printed; the first that is too long ends them."""
    trailers: list[tuple[bytes, bytes]] = []
    for line in printed.split(b"\0"):
        key, colon, value = line.partition(b":")
        value = value.strip()
        if not (key and colon):
            continue
        if len(key) > LONGEST_KEY_BYTES or len(value) > LONGEST_VALUE_BYTES:
            break
        trailers.append((key, value))
        if len(trailers) == MAXIMUM:
            break
    return trailers
