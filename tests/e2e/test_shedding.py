"""A node that sheds load: its running reads are known with what their git children cost."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.node_process import NodeProcess


def test_a_node_with_a_load_shedder_serves(
    own_node: Callable[[str], NodeProcess], work: Path, tmp_path: Path
) -> None:
    node = own_node("[load_shedder]\nenabled = true\n")
    make_bare(node, "demo.git", source=work)
    Way(node=node).clone(tmp_path / "copy")
    assert "no load is shed; configure [cgroups]" in node.log()
