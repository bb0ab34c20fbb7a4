"""What the log says when a node starts: versions, mode, and what in the configuration is idle."""

from gitaly.config import AuthConfig, Config, inactive_features, problems
from gitaly.errors import NodeError
from gitaly.git import GitBinary, SigningKeyFiles
from gitaly.observe.log import Logger
from gitaly.token import fingerprints
from gitaly.version import VERSION

STANDALONE = (
    "standalone mode: no [gitlab] is configured, authenticated pushes are accepted unchecked"
)
TRANSITIONING = (
    "Authentication is enabled but not enforced because transitioning=true."
    " Gitaly will accept unauthenticated requests."
)


def push_mode(config: Config) -> str:
    """Who decides about pushes, as log and check say it."""
    if not config.is_standalone:
        return f"pushes are decided by GitLab at {shown_url(config.gitlab.url)}"
    policy = config.standalone
    judges = [f"{len(policy.rule)} rule{'s' * (len(policy.rule) != 1)}"] if policy.rule else []
    for url, when in ((policy.webhook_before, "asked"), (policy.webhook_after, "told")):
        judges += [f"a webhook that is {when} ({shown_url(url)})"] if url else []
    if not judges:
        return STANDALONE
    return f"standalone mode: no [gitlab] is configured, pushes are judged by {', '.join(judges)}"


def shown_url(url: str) -> str:
    """Without user, password and query."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _announce_auth(auth: AuthConfig, logger: Logger) -> None:
    if not auth.secrets:
        logger.warning("authentication is off: no auth.token is configured, anybody may call")
        return
    names = fingerprints(secret.encode("utf-8", "surrogateescape") for secret in auth.secrets)
    logger.info("tokens that open this node, by their fingerprints", tokens=", ".join(names))
    if auth.transitioning:
        logger.warning(TRANSITIONING)


def announce(config: Config, git: GitBinary, logger: Logger) -> None:
    """Log it."""
    logger.info("Starting Gitaly", version=VERSION, git_path=git.path, git_version=git.version.text)
    mode = push_mode(config)
    (logger.warning if mode == STANDALONE else logger.info)(mode)
    _announce_auth(config.auth, logger)
    inactive = inactive_features(config)
    if inactive:
        logger.warning("configured but not active: " + ", ".join(inactive))
    _try_signing_keys(config, logger)
    if config.origin.unknown_keys:
        logger.warning(
            "unknown keys in the configuration are ignored",
            keys=", ".join(config.origin.unknown_keys),
        )
    if config.origin.legacy_keys:
        logger.info(
            "keys of older versions in the configuration are ignored",
            keys=", ".join(config.origin.legacy_keys),
        )
    found = problems(config)
    if found:
        logger.warning(
            "The current configurations will cause Gitaly to fail to start up in future versions."
            " Please run 'gitaly configuration validate' and fix the errors that are printed.",
            keys=", ".join(".".join(problem.key) for problem in found),
        )


def _try_signing_keys(config: Config, logger: Logger) -> None:
    """The node runs without them; but calls that need them will fail until they can be read."""
    keys = SigningKeyFiles(config.git.signing_key, config.git.rotated_signing_keys)
    try:
        if keys:
            keys.all()
    except NodeError as error:
        logger.error("git.signing_key: " + error.message, **error.metadata)
