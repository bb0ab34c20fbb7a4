"""Part of the composition root: builds what decides about pushes from a node's configuration."""

import os
import ssl
from typing import Final

from prometheus_client import CollectorRegistry

from gitaly.config import Config, StandaloneConfig
from gitaly.errors import NodeError, prefixed
from gitaly.git import Git, Processes
from gitaly.hooks.authority import Authority
from gitaly.hooks.custom import CustomHooks
from gitaly.hooks.gitlab import GitLab, GitLabMetrics, HttpClient, api_endpoint, url_endpoint
from gitaly.hooks.gitlab.authority import GitLabAuthority
from gitaly.hooks.manager import HookManager
from gitaly.hooks.standalone import Policy, Rule, StandaloneAuthority, Webhook
from gitaly.observe.log import Logger
from gitaly.reload import Step
from gitaly.storage import Blocking
from gitaly.tls import gitlab_context
from gitaly.transactions import VoterOf
from gitaly.version import VERSION

USER_AGENT: Final = f"gitaly/{VERSION}"


class CannotAskGitLab(NodeError):
    """What the configuration says of GitLab cannot be used."""


def make_gitlab(config: Config, metrics: GitLabMetrics | None, logger: Logger) -> GitLab:
    """The client of the internal API. Raises CannotAskGitLab, UnusableCertificate."""
    gitlab, http = config.gitlab, config.gitlab.http_settings
    try:
        endpoint = api_endpoint(gitlab.url, gitlab.relative_url_root)
    except NodeError as error:
        raise CannotAskGitLab(f"gitlab.url: {error.message}") from error
    tls = gitlab_context(http, config.tls) if endpoint.scheme == "https" else None
    return GitLab(
        HttpClient(tls, http.read_timeout),
        endpoint,
        secret=_secret(config),
        user_agent=USER_AGENT,
        metrics=metrics,
        logger=logger,
        basic_auth=(http.user, http.password),
    )


def _secret(config: Config) -> bytes:
    if config.gitlab.secret:
        return config.gitlab.secret.encode("utf-8", "surrogateescape")
    path = config.gitlab.secret_file
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CannotAskGitLab(
            f"reading secret file: gitlab.secret_file: {path}: {error.strerror}"
        ) from error


class PushDecisions:
    """Who decides about pushes, with everybody who has a say; others may take their place."""

    keys = (
        "gitlab.*",
        "gitlab-shell.*",
        "hooks.custom_hooks_dir",
        "hooks.custom_hooks_timeout",
        "standalone.*",
    )

    def __init__(
        self,
        config: Config,
        git: Git,
        processes: Processes,
        blocking: Blocking,
        registry: CollectorRegistry,
        logger: Logger,
        voter_of: VoterOf,
    ) -> None:
        """Raises NodeError for what cannot be used."""
        self._git = git
        self._logger = logger
        buckets = config.prometheus.grpc_latency_buckets
        self._metrics = None if config.is_standalone else GitLabMetrics(registry, buckets)
        self._secret = b"" if config.is_standalone else _secret(config)
        self._custom_hooks = CustomHooks(
            processes,
            blocking,
            logger,
            environment=os.environ,
            git_directory=os.path.dirname(git.binary.path),
            global_directory=config.hooks.custom_hooks_dir,
            seconds=config.hooks.custom_hooks_timeout.total_seconds(),
        )
        self.manager = HookManager(self._authority(config), self._custom_hooks, voter_of, logger)

    def prepare(self, config: Config, running: Config) -> Step:
        """Built anew each time: also certificates and secrets behind the same paths may be new."""
        authority = self._authority(config)
        secret = b"" if config.is_standalone else _secret(config)
        same_key = config.gitlab == running.gitlab

        def commit() -> None:
            self._secret = secret
            self.manager.adopt(authority)
            self._custom_hooks.adopt(
                global_directory=config.hooks.custom_hooks_dir,
                seconds=config.hooks.custom_hooks_timeout.total_seconds(),
            )

        is_other = secret != self._secret and same_key
        contents = ["gitlab.secret_file (content)"] if is_other else []
        return Step(commit=commit, contents=contents, always=True)

    def _authority(self, config: Config) -> Authority:
        if config.is_standalone:
            return _standalone(config.standalone, self._git, self._logger)
        return GitLabAuthority(make_gitlab(config, self._metrics, self._logger))


def _standalone(config: StandaloneConfig, git: Git, logger: Logger) -> StandaloneAuthority:
    rules = [
        Rule(
            repositories=rule.repositories,
            refs=rule.refs,
            users=rule.users,
            read_only=rule.read_only,
            deny_deletion=rule.deny_deletion,
            deny_non_fast_forward=rule.deny_non_fast_forward,
            max_push_bytes=rule.max_push_bytes,
        )
        for rule in config.rule
    ]
    return StandaloneAuthority(
        git,
        Policy(rules),
        before=_webhook("webhook_before", config.webhook_before, config, logger),
        after=_webhook("webhook_after", config.webhook_after, config, logger),
    )


def _webhook(key: str, url: str, config: StandaloneConfig, logger: Logger) -> Webhook | None:
    if not url:
        return None
    with prefixed(f"standalone.{key}"):
        endpoint = url_endpoint(url)
    tls = ssl.create_default_context() if endpoint.scheme == "https" else None
    return Webhook(
        HttpClient(tls, config.webhook_timeout.total_seconds()),
        endpoint,
        secret=config.webhook_secret.encode("utf-8", "surrogateescape"),
        user_agent=USER_AGENT,
        logger=logger,
    )
