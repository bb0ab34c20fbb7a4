"""`gitaly-hooks` as operators type it. What git runs as a hook is another program of that name,
which a node makes for itself in its runtime directory.
"""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    command, *arguments = sys.argv[1:] or [""]
    if command == "check":
        from gitaly.cli.check import check_arguments

        sys.exit(check_arguments(arguments))
    print(f'gitaly-hooks: subcommand name invalid: "{command}"', file=sys.stderr)
    print("usage: gitaly-hooks check CONFIG; hooks themselves are run by git", file=sys.stderr)
    sys.exit(1)
