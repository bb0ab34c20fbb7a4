"""What the documents say is so."""

import re
from pathlib import Path

from gitaly.rpc import node_services
from gitaly.services.hook import HookServicer
from gitaly.services.ref import RefServicer
from gitaly.services.repository import RepositoryServicer
from gitaly.services.server import ServerServicer
from gitaly.services.smarthttp import SmartHTTPServicer
from gitaly.services.ssh import SSHServicer

ROOT = Path(__file__).resolve().parent.parent
BUILT = {
    servicer.SERVICE: servicer
    for servicer in (
        HookServicer,
        RefServicer,
        RepositoryServicer,
        ServerServicer,
        SmartHTTPServicer,
        SSHServicer,
    )
}


def test_the_status_table_says_what_is_built() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(gitaly\.\w+)` \| (.+?) \| (.*?) ?\|$", readme, re.MULTILINE)
    said = {service: (works, calls) for service, works, calls in rows if " of " in works}
    true = {}
    for service, methods in node_services().items():
        names = sorted(m.name for m in methods if hasattr(BUILT.get(service), m.name))
        true[service] = (f"{len(names)} of {len(methods)}", ", ".join(names))
    assert said == true


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
