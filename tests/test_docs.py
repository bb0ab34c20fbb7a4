"""What the documents say is so."""

import re
from pathlib import Path

from gitaly.rpc import node_services
from gitaly.services.analysis import AnalysisServicer
from gitaly.services.blob import BlobServicer
from gitaly.services.commit import CommitServicer
from gitaly.services.diff import DiffServicer
from gitaly.services.ref import RefServicer
from gitaly.services.remote import RemoteServicer
from gitaly.services.repository import (
    ArchiveServicer,
    AttributesServicer,
    ConsistencyServicer,
    ExportServicer,
    LicenseServicer,
    RawChangesServicer,
    ReachabilityServicer,
    RepositoryInformationServicer,
    RepositoryServicer,
    SearchServicer,
)
from gitaly.services.server import ServerServicer
from gitaly.services.smarthttp import SmartHTTPServicer
from gitaly.services.ssh import SSHServicer

ROOT = Path(__file__).resolve().parent.parent
BUILT = (
    AnalysisServicer,
    ArchiveServicer,
    AttributesServicer,
    BlobServicer,
    CommitServicer,
    ConsistencyServicer,
    DiffServicer,
    ExportServicer,
    LicenseServicer,
    RawChangesServicer,
    ReachabilityServicer,
    RefServicer,
    RemoteServicer,
    RepositoryInformationServicer,
    RepositoryServicer,
    SSHServicer,
    SearchServicer,
    ServerServicer,
    SmartHTTPServicer,
)


def test_the_status_table_says_what_is_built() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(gitaly\.\w+)` \| (.+?) \| (.*?) ?\|$", readme, re.MULTILINE)
    said = {service: (works, calls) for service, works, calls in rows if " of " in works}
    true = {}
    for service, methods in node_services().items():
        servicers = [servicer for servicer in BUILT if service == servicer.SERVICE]
        names = sorted(m.name for m in methods if any(hasattr(x, m.name) for x in servicers))
        true[service] = (f"{len(names)} of {len(methods)}", ", ".join(names))
    assert said == true


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
