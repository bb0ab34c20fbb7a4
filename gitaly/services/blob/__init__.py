"""BlobService: contents of files."""

from gitaly.services.blob.servicer import BlobServicer

__all__ = ["BlobServicer"]
