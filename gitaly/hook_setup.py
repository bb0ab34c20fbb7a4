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
from gitaly.runtime_dir import RuntimeDirectory
from gitaly.storage import Blocking
from gitaly.tls import gitlab_context
from gitaly.transactions import VoterOf
from gitaly.version import VERSION

USER_AGENT: Final = f"gitaly/{VERSION}"


class CannotAskGitLab(NodeError):
    """What the configuration says of GitLab cannot be used."""


def make_gitlab(
    config: Config, runtime: RuntimeDirectory, metrics: GitLabMetrics | None, logger: Logger
) -> GitLab:
    """The client of the internal API. Raises CannotAskGitLab, UnusableCertificate."""
    gitlab, http = config.gitlab, config.gitlab.http_settings
    try:
        endpoint = api_endpoint(gitlab.url, gitlab.relative_url_root)
    except NodeError as error:
        raise CannotAskGitLab(f"gitlab.url: {error.message}") from error
    tls = gitlab_context(http, config.tls, runtime) if endpoint.scheme == "https" else None
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


def make_manager(
    config: Config,
    git: Git,
    processes: Processes,
    blocking: Blocking,
    runtime: RuntimeDirectory,
    registry: CollectorRegistry,
    logger: Logger,
    voter_of: VoterOf,
) -> HookManager:
    """Who decides, with everybody who has a say. Raises NodeError for what cannot be used."""
    authority: Authority
    if config.is_standalone:
        authority = _standalone(config.standalone, git, logger)
    else:
        metrics = GitLabMetrics(registry, config.prometheus.grpc_latency_buckets)
        authority = GitLabAuthority(make_gitlab(config, runtime, metrics, logger))
    custom_hooks = CustomHooks(
        processes,
        blocking,
        logger,
        environment=os.environ,
        git_directory=os.path.dirname(git.binary.path),
        global_directory=config.hooks.custom_hooks_dir,
        seconds=config.hooks.custom_hooks_timeout.total_seconds(),
    )
    return HookManager(authority, custom_hooks, voter_of, logger)


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
