"""What the log says when a node starts: versions, mode, and what in the configuration is idle."""

from gitaly.config import Config, inactive_features, problems
from gitaly.git import GitBinary
from gitaly.observe.log import Logger
from gitaly.version import VERSION

STANDALONE = (
    "standalone mode: no [gitlab] is configured, authenticated pushes are accepted unchecked"
)
TRANSITIONING = (
    "Authentication is enabled but not enforced because transitioning=true."
    " Gitaly will accept unauthenticated requests."
)
NO_PUSHES = "pushes are refused: [gitlab] is configured and hooks are not available in this version"


def is_standalone(config: Config) -> bool:
    """Whether the node runs without a GitLab: the configuration has no [gitlab] table."""
    return not config.origin.gives("gitlab")


def announce(config: Config, git: GitBinary, logger: Logger) -> None:
    """Log it."""
    logger.info("Starting Gitaly", version=VERSION, git_path=git.path, git_version=git.version.text)
    logger.warning(STANDALONE if is_standalone(config) else NO_PUSHES)
    if not config.auth.secret:
        logger.warning("authentication is off: no auth.token is configured, anybody may call")
    elif config.auth.transitioning:
        logger.warning(TRANSITIONING)
    inactive = inactive_features(config)
    if inactive:
        logger.warning("configured but not active: " + ", ".join(inactive))
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
