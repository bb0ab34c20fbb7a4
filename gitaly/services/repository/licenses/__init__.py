"""Which licence a text is. No I/O."""

from gitaly.services.repository.licenses.catalogue import OTHER, License
from gitaly.services.repository.licenses.files import is_canonical, is_license_file
from gitaly.services.repository.licenses.matching import LicenseMatcher, Match

__all__ = ["OTHER", "License", "LicenseMatcher", "Match", "is_canonical", "is_license_file"]
