"""Keys that older versions of Gitaly knew. Old files still hold them; today they mean nothing."""

from typing import Final

from gitaly.config.decode import Path

LEGACY_KEYS: Final = frozenset(
    {
        "internal_socket_dir",
        "gitaly-ruby",
        "rate_limiting",
        "logging.dir",
        "logging.ruby_sentry_dsn",
        "git.use_bundled_binaries",
        "git.ignore_gitconfig",
        "gitlab.http-settings.self_signed_cert",
        "auth.unenforced",
        "backup.layout",
        "backup.enable_trailing_checksum",
    }
)


def is_legacy(path: Path) -> bool:
    """Whether an unknown key is one that Gitaly gave up, in whatever case it is written."""
    return ".".join(part for part in path if isinstance(part, str)).lower() in LEGACY_KEYS
