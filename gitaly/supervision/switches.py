"""Environment variables that a wrapper and the node share. Source: Gitaly, internal/bootstrap."""

from collections.abc import Mapping
from typing import Final

PID_FILE: Final = "GITALY_PID_FILE"
UPGRADES: Final = "GITALY_UPGRADES_ENABLED"
TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})  # source: Go, strconv.ParseBool


def is_on(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable says yes."""
    return environment.get(name, "") in TRUE
