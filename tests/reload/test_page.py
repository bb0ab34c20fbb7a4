"""docs/configuration.md says which keys a reload takes, and those are the ones that it takes."""

import re
from pathlib import Path

from gitaly.reload.changes import EVERY_KEY, matching
from tests.faults.nodes import a_node

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text()


def listed() -> list[str]:
    _, _, section = PAGE.partition("## What a reload takes\n")
    return re.findall(r"^\| `([^`]+)` \|", section.partition("\n## ")[0], re.MULTILINE)


async def test_the_page_lists_the_keys_that_a_node_takes(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        assert matching(listed()) == served.node.reloader.keys


def test_each_line_of_the_list_means_a_key() -> None:
    assert [pattern for pattern in listed() if not matching([pattern])] == []


async def test_what_cannot_be_had_without_new_sockets_or_groups_waits(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        taken = {key.split(".")[0] for key in served.node.reloader.keys}
    waiting = {key.split(".")[0] for key in EVERY_KEY} - taken
    assert {"socket_path", "tls_listen_addr", "runtime_dir", "storage[]", "cgroups"} <= waiting
