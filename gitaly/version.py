"""The version of the wire contract that this node serves; clients read it in ServerInfo."""

from typing import Final

VERSION: Final = "18.9.0"
