"""Control groups: what git may use of the machine, for each repository by itself."""

from gitaly.cgroups.choice import Choice
from gitaly.cgroups.groups import Group, Groups
from gitaly.cgroups.hierarchy import (
    CgroupsUnusable,
    Hierarchy,
    OwnGroupUnusable,
    PlaceUnusable,
    Site,
    version_at,
)
from gitaly.cgroups.inquest import Inquests
from gitaly.cgroups.metrics import CgroupCollector, SpawnMetrics
from gitaly.cgroups.pack import pack_config
from gitaly.cgroups.remedies import user_name
from gitaly.cgroups.selftest import try_out
from gitaly.cgroups.settings import NamedGroup, Resources, Settings
from gitaly.cgroups.spawner import CgroupSpawner
from gitaly.cgroups.statistics import ParentUsage, Statistics, parent_usage
from gitaly.cgroups.v1 import Version1
from gitaly.cgroups.v2 import Version2

__all__ = [
    "CgroupCollector",
    "CgroupSpawner",
    "CgroupsUnusable",
    "Choice",
    "Group",
    "Groups",
    "Hierarchy",
    "Inquests",
    "NamedGroup",
    "OwnGroupUnusable",
    "ParentUsage",
    "PlaceUnusable",
    "Resources",
    "Settings",
    "Site",
    "SpawnMetrics",
    "Statistics",
    "Version1",
    "Version2",
    "pack_config",
    "parent_usage",
    "try_out",
    "user_name",
    "version_at",
]
