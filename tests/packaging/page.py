"""The commands that a page tells an operator to type."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/installation.md"


def commands(heading: str, prompt: str = "# ") -> list[str]:
    """Those typed as root (or with another prompt) below a heading, up to the next heading."""
    text = PAGE.read_text()
    section = re.split(
        r"^##+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE
    )
    blocks = re.findall(r"^```console\n(.*?)^```", section[0], re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [line.removeprefix(prompt) for line in lines if line.startswith(prompt)]
    assert found, f"no commands below {heading}"
    return found


def example(language: str, number: int = 0) -> str:
    """A block of another language, e.g. a drop-in."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found[number])
