"""RefService as a whole."""

from gitaly.services.ref.branches import Branches
from gitaly.services.ref.containing import Containing
from gitaly.services.ref.lookups import Lookups
from gitaly.services.ref.tag_objects import TagObjects
from gitaly.services.ref.tags import Tags


class RefServicer(Lookups, Branches, Tags, TagObjects, Containing):
    """Reads references. Each part of it has a module of its own."""

    SERVICE = "gitaly.RefService"
