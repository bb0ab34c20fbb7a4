"""`gitaly-hooks`: what git runs as a hook. This version has none."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """The console script."""
    sys.exit("gitaly-hooks: hooks are not available in this version")
