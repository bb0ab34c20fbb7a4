"""Builds all servicers of a node."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from gitaly.archivecache import ArchiveCache
from gitaly.config import Config
from gitaly.git import (
    CatfilePool,
    Git,
    GitObjects,
    GitReferences,
    Handles,
    InProcessObjects,
    InProcessReferences,
    SigningKeyFiles,
)
from gitaly.git.diffs import Diffs, HeadAttributes
from gitaly.hooks import Outfit
from gitaly.hooks.custom import HookStore
from gitaly.hooks.manager import HookManager
from gitaly.observe.log import Logger
from gitaly.services.analysis import AnalysisServicer
from gitaly.services.blob import BlobServicer
from gitaly.services.commit import CommitServicer
from gitaly.services.diff import DiffServicer
from gitaly.services.fetches import GitProtocol, NegotiationMetrics
from gitaly.services.hook import HookServicer
from gitaly.services.hook_sessions import Abandonment
from gitaly.services.pack_objects import PackInterception, PackObjects
from gitaly.services.pack_objects_hook import PackObjectsServicer
from gitaly.services.pushes import Pushes
from gitaly.services.readiness import Readiness
from gitaly.services.ref import RefServicer
from gitaly.services.remote import RemoteServicer
from gitaly.services.repository import (
    ArchiveServicer,
    AttributesServicer,
    ConsistencyServicer,
    CustomHooksServicer,
    ExportServicer,
    LfsFilter,
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
from gitaly.services.voters import Voters
from gitaly.storage import Creator, Remover
from gitaly.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What servicers work with."""

    config: Config
    git: Git
    catfiles: CatfilePool
    upkeep: Upkeep
    readiness: Readiness
    manager: HookManager
    outfit: Outfit
    abandonment: Abandonment
    voters: Voters
    packs: PackObjects
    interception: PackInterception
    lfs: LfsFilter | None
    archives: ArchiveCache | None
    registry: CollectorRegistry
    logger: Logger


def make_servicers(means: Means) -> Iterator[Any]:
    """One for each service, or several that share a service."""
    handles = Handles(means.git.formats)
    yield from _readers(means, handles)
    yield from _changers(means, handles)
    yield from _transfers(means)
    yield ServerServicer(
        means.upkeep.patrol,
        readiness=means.readiness,
        binary=means.git.binary,
        blocking=means.upkeep.blocking,
        signing_keys=_signing_keys(means.config),
        pulse=means.upkeep.pulse,
    )


def _readers(means: Means, handles: Handles) -> Iterator[Any]:
    """What tells of repositories and their content."""
    git, storages, blocking = means.git, means.upkeep.storages, means.upkeep.blocking
    references = InProcessReferences(handles, GitReferences(git))
    objects = InProcessObjects(handles, GitObjects(git, means.catfiles))
    attributes = HeadAttributes(git, objects)
    diffs = Diffs(git, attributes)
    yield AnalysisServicer(storages, objects)
    yield BlobServicer(storages, git, objects)
    yield ArchiveServicer(storages, git, objects, means.lfs, means.archives)
    yield AttributesServicer(storages, git, objects, blocking)
    yield CommitServicer(
        storages,
        git,
        objects=objects,
        references=references,
        attributes=attributes,
        blocking=blocking,
        registry=means.registry,
        signing_keys=_signing_keys(means.config),
    )
    yield ConsistencyServicer(storages, git)
    yield DiffServicer(storages, diffs, objects=objects, formats=git.formats, blocking=blocking)
    yield ExportServicer(storages, git, blocking, means.logger)
    yield LicenseServicer(storages, objects=objects, formats=git.formats, blocking=blocking)
    yield RawChangesServicer(storages, diffs, objects=objects, formats=git.formats)
    yield ReachabilityServicer(storages, git)
    yield RefServicer(storages, git, objects=objects, references=references)
    yield RemoteServicer(storages, git)
    yield RepositoryInformationServicer(
        storages, references=references, formats=git.formats, blocking=blocking
    )
    yield SearchServicer(storages, git)


def _signing_keys(config: Config) -> SigningKeyFiles:
    return SigningKeyFiles(config.git.signing_key, config.git.rotated_signing_keys)


def make_lfs_filter(config: Config) -> LfsFilter | None:
    """What fetches the objects of LFS pointers from GitLab, if there is one."""
    return LfsFilter(*lfs_settings(config)) if config.gitlab.url else None


def lfs_settings(config: Config) -> tuple[dict[str, object], dict[str, str]]:
    """What an LFS filter is told: the table of GitLab, and the paths of our certificate."""
    paths = {name: getattr(config.tls, name) for name in ("certificate_path", "key_path")}
    return asdict(config.gitlab), paths


def _changers(means: Means, handles: Handles) -> Iterator[Any]:
    """What changes repositories as a whole, and what hooks of git children ask."""
    upkeep = means.upkeep

    def forget(path: str) -> None:
        handles.forget(path)
        means.catfiles.forget(path)

    yield RepositoryServicer(
        upkeep.storages,
        creator=Creator(means.git, upkeep.blocking, upkeep.counter),
        remover=Remover(upkeep.blocking, upkeep.counter, means.logger, forget),
        voters=means.voters,
    )
    yield CustomHooksServicer(upkeep.storages, HookStore(upkeep.blocking), means.voters)
    yield HookServicer(upkeep.storages, means.manager)
    yield PackObjectsServicer(means.packs)


def _transfers(means: Means) -> Iterator[Any]:
    """What fetches and pushes go through."""
    config, git, storages = means.config, means.git, means.upkeep.storages
    protocol = GitProtocol(means.registry, means.logger)
    pushes = Pushes(
        git,
        protocol,
        manager=means.manager,
        outfit=means.outfit,
        abandonment=means.abandonment,
        voters=means.voters,
    )
    yield SSHServicer(
        storages,
        git,
        pushes=pushes,
        packs=means.interception,
        protocol=protocol,
        metrics=NegotiationMetrics(means.registry, "ssh"),
        upload_pack_seconds=config.timeout.upload_pack_negotiation.total_seconds(),
        upload_archive_seconds=config.timeout.upload_archive_negotiation.total_seconds(),
        logger=means.logger,
    )
    yield SmartHTTPServicer(
        storages,
        git,
        pushes=pushes,
        packs=means.interception,
        protocol=protocol,
        metrics=NegotiationMetrics(means.registry, "smarthttp"),
        logger=means.logger,
    )
