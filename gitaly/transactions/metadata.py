"""What Praefect says about a change in which several nodes take part.

It comes as metadata of the call, and goes on to hooks as a part of their payload.
Source: Gitaly, internal/transaction/txinfo.
"""

import base64
import binascii
from typing import Final

import msgspec

from gitaly.errors import InvalidRequest

METADATA_KEY: Final = "gitaly-reference-transaction"
MOST_ID: Final = 2**64 - 1  # it is an uint64 on the wire


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One change, as this node has to vote on it. The fields are those of the JSON."""

    id: int = 0  # unique in the Praefect that leads it
    node: str = ""  # the name under which this node votes
    primary: bool = False  # hooks run here and nowhere else
    backchannel_id: int = 0  # of the connection that leads to Praefect; never told by Praefect


def parse_transaction(value: str, backchannel_id: int) -> Transaction:
    """From the metadata of a call that came in on a connection with that id.

    Keys that are unknown are ignored: Praefect may be newer. Raises InvalidRequest.
    """
    try:
        said = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{METADATA_KEY}: not base64") from error
    try:
        found = msgspec.json.decode(said, type=Transaction)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{METADATA_KEY}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{METADATA_KEY}: not JSON") from error
    if not 0 <= found.id <= MOST_ID:
        raise InvalidRequest(f"{METADATA_KEY}: id is out of range")
    return msgspec.structs.replace(found, backchannel_id=backchannel_id)
