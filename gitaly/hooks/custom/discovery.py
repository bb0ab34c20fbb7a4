"""Which custom hooks there are, and in which order they run. Looks at the disk: blocks.

1. `<repository>/custom_hooks/<hook>`
2. `<repository>/custom_hooks/<hook>.d/*`, sorted by name
3. `<hooks.custom_hooks_dir>/<hook>.d/*`, sorted by name

Not counted: directories, what the node may not execute, names that end in `~`. Source: Gitaly,
internal/gitaly/hook/custom.go.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

HOOK_NAMES: Final = ("pre-receive", "update", "post-receive")
DIRECTORY: Final = "custom_hooks"


@dataclass(frozen=True, slots=True)
class CustomHook:
    """One program. `name` is how pushers and logs may call it: without a path of the server."""

    path: str
    name: str  # "pre-receive", "pre-receive.d/10-check", "global pre-receive.d/10-check"


def find_hooks(repository_path: str, global_directory: str, hook: str) -> list[CustomHook]:
    """All programs for a hook ("pre-receive", "update", "post-receive") in their order.

    `global_directory` empty: there is none. Raises OSError for a directory that cannot be read;
    one that does not exist is no error.
    """
    own = os.path.join(repository_path, DIRECTORY)
    found = []
    single = os.path.join(own, hook)
    if _is_hook(single):
        found.append(CustomHook(single, hook))
    found += _in_directory(os.path.join(own, f"{hook}.d"), f"{hook}.d")
    if global_directory:
        found += _in_directory(os.path.join(global_directory, f"{hook}.d"), f"global {hook}.d")
    return found


def installed_hooks(repository_path: str, global_directory: str) -> frozenset[str]:
    """The hooks for which there is any program; one that cannot be looked for counts as there."""
    return frozenset(
        hook for hook in HOOK_NAMES if _has_any(repository_path, global_directory, hook)
    )


def _has_any(repository_path: str, global_directory: str, hook: str) -> bool:
    try:
        return bool(find_hooks(repository_path, global_directory, hook))
    except OSError:
        return True  # the hook will say what is wrong, instead of not being run


def _in_directory(path: str, shown: str) -> Iterator[CustomHook]:
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in sorted(names, key=os.fsencode):
        full = os.path.join(path, name)
        if _is_hook(full):
            yield CustomHook(full, f"{shown}/{name}")


def _is_hook(path: str) -> bool:
    if path.endswith("~"):
        return False
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISDIR(mode) and os.access(path, os.X_OK)
