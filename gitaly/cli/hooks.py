"""`gitaly-hooks` on the path. A node gives its git children a copy of their own: `gitaly.hooks`."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    sys.exit("gitaly-hooks: git runs the copy that a node installs, nobody calls it by hand")
