from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from gitaly.observe.log import Logger
from gitaly.storage import (
    Blocking,
    Creator,
    Initial,
    Remover,
    RepositoryCounter,
    Storages,
    walk_repositories,
)
from tests.storage.support import message, skeleton

NAME = "gitaly_total_repositories_count"


def test_repositories_are_found_wherever_they_are(root: Path) -> None:
    for path in ("@hashed/aa/a.git", "@hashed/aa/a.git/inside.git", "plain", "+gitaly/tmp/repo1"):
        skeleton(root, path)
    skeleton(root, "deep/+gitaly/x.git")
    (root / "@hashed/link").symlink_to(root)
    assert sorted(walk_repositories(str(root))) == [
        "@hashed/aa/a.git",
        "deep/+gitaly/x.git",
        "plain",
    ]


async def test_repositories_are_counted_by_their_prefix(
    root: Path,
    storages: Storages,
    blocking: Blocking,
    logger: Logger,
    log: structlog.testing.LogCapture,
    counter: RepositoryCounter,
    creator: Creator,
    remover: Remover,
) -> None:
    registry = CollectorRegistry()
    registry.register(counter)
    for path in ("@hashed/a", "@hashed/b", "@cluster/pools/aa/1", "@cluster/repositories/2", "c"):
        skeleton(root, path)

    def count(prefix: str) -> float | None:
        return registry.get_sample_value(NAME, {"path": str(root), "prefix": prefix})

    assert count("@hashed") is None
    await counter.count(storages.distinct_paths(), blocking, logger)
    assert (count("@hashed"), count("pools"), count("repositories")) == (2, 1, 1)
    await creator.create(storages.creatable(message("@hashed/new")), initial=Initial())
    assert count("@hashed") == 3
    await remover.remove(storages.existing(message("@cluster/pools/aa/1")))
    assert count("pools") == 0
    assert [entry["event"] for entry in log.entries] == ["failed to count repositories"]
