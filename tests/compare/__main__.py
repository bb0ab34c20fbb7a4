"""`make compare GITALY_REFERENCE=/path/to/gitaly`: the same reads of both, and what differs.

GITALY_COMPARE_STORAGE names a directory of repositories; without it some are made. Both nodes work
on copies.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.compare.asking import differences
from tests.compare.nodes import copied, made_storage, reference_node
from tests.compare.questions import questions
from tests.e2e.node_process import NodeProcess

SKIPPED = "compare: skipped: name the program to compare with, GITALY_REFERENCE=/path/to/gitaly"


def main(reference: str, storage: str) -> int:
    """How many answers differ, as an exit code."""
    if not reference:
        print(SKIPPED)
        return 0
    with tempfile.TemporaryDirectory(prefix="cmp-") as directory:
        source = Path(storage) if storage else made_storage(Path(directory, "source"))
        return compare(Path(reference), source, Path(directory))


def compare(reference: Path, source: Path, directory: Path) -> int:
    """Print what differs."""
    node = NodeProcess(directory / "ours")
    copied(source, node.storage)
    copied(source, directory / "reference/storage")
    asked = different = 0
    node.start()
    try:
        with reference_node(reference, directory / "reference") as address:
            for path in sorted(node.storage.glob("**/*.git")):
                asking = questions(path, str(path.relative_to(node.storage)))
                asked += len(asking)
                for found in differences(address, f"127.0.0.1:{node.tcp}", asking):
                    different += 1
                    print(f"{found}\n")
    finally:
        node.stop()
    print(f"compare: {asked} questions, {different} answers differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(
        main(os.environ.get("GITALY_REFERENCE", ""), os.environ.get("GITALY_COMPARE_STORAGE", ""))
    )
