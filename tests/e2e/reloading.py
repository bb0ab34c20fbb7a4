"""A node's configuration, edited while the node runs, as an operator does it."""

import os
import signal
from typing import Any

from tests.e2e.node_process import NodeProcess, wait_until

OUTCOMES = ("configuration reloaded", "configuration not reloaded")


def content(node: NodeProcess) -> str:
    """Of config.toml."""
    return (node.directory / "config.toml").read_text()


def write(node: NodeProcess, text: str) -> None:
    """Put another config.toml in its place; nobody ever sees half of it."""
    new = node.directory / "config.toml.new"
    new.write_text(text)
    new.rename(node.directory / "config.toml")


def edit(node: NodeProcess, old: str, new: str) -> None:
    """Replace a part of config.toml."""
    text = content(node)
    assert text.count(old) == 1, text
    write(node, text.replace(old, new))


def append(node: NodeProcess, text: str) -> None:
    write(node, content(node) + text)


def outcomes(node: NodeProcess) -> list[dict[str, Any]]:
    """The lines of the log that tell how reloads ended."""
    return [line for line in node.lines() if line["msg"].startswith(OUTCOMES)]


def hang_up(node: NodeProcess) -> None:
    os.kill(node.pid, signal.SIGHUP)


def reload(node: NodeProcess) -> dict[str, Any]:
    """Send the signal; the line in which the node says what it made of it."""
    before = len(outcomes(node))
    hang_up(node)
    wait_until(lambda: len(outcomes(node)) > before, "the node to read its configuration again")
    return outcomes(node)[-1]


def reloaded(node: NodeProcess) -> dict[str, Any]:
    """As `reload`; all must have been taken."""
    line = reload(node)
    assert line["msg"] == "configuration reloaded", line
    return line
