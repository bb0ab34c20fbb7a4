"""How much fits onto a command line."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

# Linux: one argument, less the byte that ends it; all of them with the environment, 2 MiB.
ARGUMENT_LIMIT_BYTES: Final = 128 * 1024 - 1
ARGUMENTS_LIMIT_BYTES: Final = 1 << 20
BATCH_BYTES: Final = 256 * 1024
POINTER_BYTES: Final = 9  # what each costs besides its text


def fit(arguments: Sequence[bytes]) -> bool:
    """Whether all of them fit onto one command line."""
    return (
        max(map(len, arguments), default=0) <= ARGUMENT_LIMIT_BYTES
        and sum(map(len, arguments)) + POINTER_BYTES * len(arguments) <= ARGUMENTS_LIMIT_BYTES
    )


def command_lines(arguments: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The arguments in as many lists as needed, each of about 256 KiB at most."""
    batch: list[bytes] = []
    size = 0
    for argument in arguments:
        size += len(argument) + POINTER_BYTES
        if batch and size > BATCH_BYTES:
            yield batch
            batch, size = [], len(argument) + POINTER_BYTES
        batch.append(argument)
    if batch:
        yield batch
