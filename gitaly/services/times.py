"""Times of requests in the words in which git is given them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def as_go_prints(time: Timestamp) -> str:
    """`2020-09-13 12:26:40.5 +0000 UTC`; seconds since 1970 for years that no calendar has."""
    try:
        moment = _EPOCH + timedelta(seconds=time.seconds)
    except OverflowError:
        return f"@{time.seconds}"
    fraction = f".{time.nanos:09}".rstrip("0") if time.nanos else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def as_rfc3339(time: Timestamp) -> str:
    """`2020-09-13T12:26:40+00:00`; seconds since 1970 for years that no calendar has."""
    try:
        moment = _EPOCH + timedelta(seconds=time.seconds)
    except OverflowError:
        return f"@{time.seconds}"
    return moment.isoformat()


def as_text_proto(time: Timestamp) -> str:
    """`seconds:1600000000 nanos:5`, of which git takes the first number of nine digits or more."""
    parts = [("seconds", time.seconds), ("nanos", time.nanos)]
    return " ".join(f"{name}:{value}" for name, value in parts if value)
