"""RepositoryService: repositories as a whole. One servicer for each concept."""

from gitaly.services.repository.archives import ArchiveServicer
from gitaly.services.repository.attributes import AttributesServicer
from gitaly.services.repository.consistency import ConsistencyServicer
from gitaly.services.repository.custom_hooks import CustomHooksServicer
from gitaly.services.repository.export import ExportServicer
from gitaly.services.repository.information import RepositoryInformationServicer
from gitaly.services.repository.lfs import LfsFilter
from gitaly.services.repository.license import LicenseServicer
from gitaly.services.repository.lifecycle import RepositoryServicer
from gitaly.services.repository.raw_changes import RawChangesServicer
from gitaly.services.repository.reachability import ReachabilityServicer
from gitaly.services.repository.search import SearchServicer

__all__ = [
    "ArchiveServicer",
    "AttributesServicer",
    "ConsistencyServicer",
    "CustomHooksServicer",
    "ExportServicer",
    "LfsFilter",
    "LicenseServicer",
    "RawChangesServicer",
    "ReachabilityServicer",
    "RepositoryInformationServicer",
    "RepositoryServicer",
    "SearchServicer",
]
