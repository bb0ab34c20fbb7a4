"""RefService: branches, tags and other references."""

from gitaly.services.ref.servicer import RefServicer

__all__ = ["RefServicer"]
