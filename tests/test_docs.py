"""What the documents say is so."""

import re
import tomllib
from pathlib import Path

import pytest

from gitaly.config import load_text
from gitaly.config.node_rules import standalone_problems
from gitaly.rpc import node_services
from tests.rpcs_page import PAGE, generated, is_built

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = [
    (page.name, text)
    for page in sorted(ROOT.glob("docs/*.md"))
    for text in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
]


def test_the_status_table_says_what_is_built() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(gitaly\.\w+)` \| (.+?) \| (.*?) ?\|$", readme, re.MULTILINE)
    said = {service: (works, calls) for service, works, calls in rows if " of " in works}
    true = {}
    for service, methods in node_services().items():
        names = sorted(method.name for method in methods if is_built(method))
        true[service] = (f"{len(names)} of {len(methods)}", ", ".join(names))
    assert said == true


def test_the_page_of_all_rpcs_is_current() -> None:
    assert PAGE.read_text() == generated(), "write it anew: python -m tests.rpcs_page"


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_to_a_heading_find_it() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    headings = {page.resolve(): anchors(page.read_text()) for page in pages}
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            meant = (page.parent / target if target else page).resolve()
            assert anchor in headings[meant], f"{page.name}: {target}#{anchor}"


def anchors(text: str) -> set[str]:
    """Of the headings of a page, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_the_configurations_on_the_pages_have_known_keys_only(page: str, text: str) -> None:
    assert load_text(text).origin.unknown_keys == ()


def test_the_packages_that_the_readme_explains_are_those_that_are_needed() -> None:
    table = (ROOT / "README.md").read_text().partition("## Dependencies")[2]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:]
    explained = [name for row in rows if "only to build" not in row for name in row.split(", ")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]]
    assert sorted(explained) == sorted(needed)


def test_the_policies_of_the_page_about_standalone_nodes_are_good() -> None:
    page = (ROOT / "docs/standalone.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for text in examples:
        config = load_text(text)
        assert config.origin.unknown_keys == ()
        assert list(standalone_problems(config.standalone)) == []
    assert len(load_text(examples[0]).standalone.rule) == 4
