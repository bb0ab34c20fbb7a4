"""RepositoryService: repositories as a whole. One servicer for each concept."""

from gitaly.services.repository.information import RepositoryInformationServicer
from gitaly.services.repository.lifecycle import RepositoryServicer

__all__ = ["RepositoryInformationServicer", "RepositoryServicer"]
