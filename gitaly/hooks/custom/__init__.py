"""Hooks that operators write: found, run, and carried to and from a repository as archives."""

from gitaly.hooks.custom.archive import BadArchive, read_archive, write_archive
from gitaly.hooks.custom.discovery import HOOK_NAMES, CustomHook, find_hooks, installed_hooks
from gitaly.hooks.custom.environment import hook_environment
from gitaly.hooks.custom.runner import CustomHookFailed, CustomHooks, HookTimedOut
from gitaly.hooks.custom.setting import HookStore

__all__ = [
    "HOOK_NAMES",
    "BadArchive",
    "CustomHook",
    "CustomHookFailed",
    "CustomHooks",
    "HookStore",
    "HookTimedOut",
    "find_hooks",
    "hook_environment",
    "installed_hooks",
    "read_archive",
    "write_archive",
]
