"""CommitService: commits, trees and history."""

from gitaly.services.commit.servicer import CommitServicer

__all__ = ["CommitServicer"]
