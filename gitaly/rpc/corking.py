"""Lets the core send several messages with one write, where they are at hand together.

A message costs the core a write and the relay to the client a turn, whatever is in it. The core has
a flag for "more follows at once", GRPC_WRITE_BUFFER_HINT: it keeps up to 64 KiB back until a
message comes without it. grpc.aio has no way to set it but one: for a message whose compression is
switched off, it passes on what `WriteFlag.no_compress` says. Here nothing is ever compressed, so
that the other flag may stand beside that one. grpcio is pinned; in one that has no such class,
every message is written by itself.

The first message of a stream must not have it: the headers would wait with it for ever.
"""

from typing import Any, Final

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave it out

_NO_COMPRESS: Final = 2  # GRPC_WRITE_NO_COMPRESS, of grpc/impl/grpc_types.h
_BUFFER_HINT: Final = 1  # GRPC_WRITE_BUFFER_HINT


def can_cork() -> bool:
    """Make messages without compression wait for the next one. False: this grpcio can't."""
    flags: Any = getattr(cygrpc, "WriteFlag", None)
    if getattr(flags, "no_compress", None) == _NO_COMPRESS:
        flags.no_compress = _NO_COMPRESS | _BUFFER_HINT
    return getattr(flags, "no_compress", None) == _NO_COMPRESS | _BUFFER_HINT
