"""Who may push: the hook program, GitLab's internal API, custom hooks, a policy, and votes."""

from gitaly.hooks.installation import Installation, install
from gitaly.hooks.outfit import Outfit
from gitaly.hooks.payload import (
    EVERY,
    VARIABLE,
    BadPayload,
    Payload,
    Requested,
    UserDetails,
)
from gitaly.hooks.reception import PACK_OBJECTS, HookHandler, HookReception
from gitaly.hooks.session import HookGone, HookRun
from gitaly.hooks.wire import Report

__all__ = [
    "EVERY",
    "PACK_OBJECTS",
    "VARIABLE",
    "BadPayload",
    "HookGone",
    "HookHandler",
    "HookReception",
    "HookRun",
    "Installation",
    "Outfit",
    "Payload",
    "Report",
    "Requested",
    "UserDetails",
    "install",
]
