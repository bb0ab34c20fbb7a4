"""Which parts of a node take another configuration while it runs, and which keys each takes.

A key that no part takes needs a restart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gitaly.cache_setup import Caches, intercepts_packs, policy_of
from gitaly.config import Config, ConfigError
from gitaly.git import CatfilePool, Git
from gitaly.hook_setup import PushDecisions
from gitaly.limiting import Limiting
from gitaly.observe.log import LEVELS, Logger, set_level
from gitaly.reload import Simple, Step, Taker
from gitaly.rpc import Authenticator, AuthPolicy, RunningReads
from gitaly.served_certificate import ServedCertificate
from gitaly.servicers import lfs_settings
from gitaly.services.pack_objects import PackInterception
from gitaly.services.repository import LfsFilter

LIMITS: Final = (
    "concurrency[].*",
    "pack_objects_limiting.*",
    "adaptive_limiting.*",
    "load_shedder.enabled",
)
CACHE_KEYS: Final = ("max_age", "min_occurrences", "backpressure", "max_bytes", "min_free_bytes")
CACHE: Final = tuple(f"pack_objects_cache.{key}" for key in CACHE_KEYS)
ARCHIVES: Final = tuple(f"archive_cache.{key}" for key in CACHE_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Those parts."""

    logger: Logger
    authenticator: Authenticator
    certificate: ServedCertificate
    decisions: PushDecisions
    lfs: LfsFilter | None
    limiting: Limiting
    reads: RunningReads
    interception: PackInterception
    caches: Caches
    git: Git
    catfiles: CatfilePool

    def takers(self) -> Iterator[Taker]:
        """In the order in which they take it."""
        yield LogLevel(self.logger)
        yield Access(self)
        yield self.certificate
        yield self.decisions
        yield Simple(keys=("gitlab.*", "tls.*"), adopt=self._adopt_lfs)
        yield Simple(keys=LIMITS, adopt=self._adopt_limits)
        yield Simple(keys=CACHE, adopt=self._adopt_cache)
        yield Simple(keys=ARCHIVES, adopt=self._adopt_archives)
        yield Simple(keys=("git.config[].*",), adopt=self._adopt_git)
        yield Simple(
            keys=("git.catfile_cache_size",),
            adopt=lambda config: self.catfiles.resize(config.git.catfile_cache_size),
        )
        # Whoever stops the node asks the reloader what is in force.
        yield Simple(keys=("graceful_restart_timeout",), adopt=lambda _: None)

    def _adopt_lfs(self, config: Config) -> None:
        if self.lfs is not None:
            self.lfs.adopt(*lfs_settings(config))

    def _adopt_limits(self, config: Config) -> None:
        self.limiting.adopt(config)
        self.reads.is_on = config.load_shedder.enabled
        self.interception.is_on = intercepts_packs(config)

    def _adopt_cache(self, config: Config) -> None:
        cache = config.pack_objects_cache
        self.caches.packs.adopt(policy_of(cache), cache.min_free_bytes)

    def _adopt_archives(self, config: Config) -> None:
        cache = config.archive_cache
        if self.caches.archives is not None:
            self.caches.archives.adopt(policy_of(cache), cache.min_free_bytes)

    def _adopt_git(self, config: Config) -> None:
        self.git.adopt([(setting.key, setting.value) for setting in config.git.config])
        self.catfiles.retire()


def access_policy(config: Config) -> AuthPolicy:
    """Who is let in by a configuration."""
    given = tuple(secret.encode("utf-8", "surrogateescape") for secret in config.auth.secrets)
    return AuthPolicy(secrets=given, transitioning=config.auth.transitioning)


class LogLevel:
    """The level; the format stays."""

    keys = ("logging.level",)

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def prepare(self, config: Config, _: Config) -> Step:
        level = config.logging.level
        if level not in LEVELS:
            raise ConfigError(f'logging.level: "{level}" is none of {", ".join(LEVELS)}')
        return Step(commit=lambda: set_level(self._logger, level))


class Access:
    """Tokens. Hooks have a secret of their own, which stays."""

    keys = ("auth.*",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def prepare(self, config: Config, running: Config) -> Step:
        parts, policy = self._parts, access_policy(config)

        def commit() -> None:
            changes = parts.authenticator.adopt(policy)
            if changes:
                parts.logger.info("who may call has changed", changes="; ".join(changes))

        other_content = (
            config.auth.token_file == running.auth.token_file
            and config.auth.token_from_file != running.auth.token_from_file
        )
        contents = ["auth.token_file (content)"] if other_content else []
        return Step(commit=commit, contents=contents)
