"""BlobService as a whole."""

from gitaly.services.blob.contents import Contents
from gitaly.services.blob.lfs_pointers import LFSPointers
from gitaly.services.blob.listing import Listing


class BlobServicer(Contents, Listing, LFSPointers):
    """Reads blobs. Each part of it has a module of its own."""

    SERVICE = "gitaly.BlobService"
