"""Hooks that operators write: found, run, and carried to and from a repository as archives."""

from gitaly.hooks.custom.archive import BadArchive
from gitaly.hooks.custom.discovery import CustomHook, find_hooks, installed_hooks
from gitaly.hooks.custom.runner import CustomHookFailed, CustomHooks, HookTimedOut
from gitaly.hooks.custom.setting import HookStore

__all__ = [
    "BadArchive",
    "CustomHook",
    "CustomHookFailed",
    "CustomHooks",
    "HookStore",
    "HookTimedOut",
    "find_hooks",
    "installed_hooks",
]
