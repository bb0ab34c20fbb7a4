"""From a file to a typed configuration with all defaults filled in."""

import os
from collections.abc import Iterable
from dataclasses import replace

from gitaly.config.command import decode_command
from gitaly.config.decode import Decoded, Path, Tree, build, given_keys, merge
from gitaly.config.defaults import with_defaults
from gitaly.config.errors import ConfigError
from gitaly.config.go_text import reason
from gitaly.config.legacy import is_legacy
from gitaly.config.model import Config, Origin
from gitaly.config.sections import AuthConfig
from gitaly.config.toml_source import decode_toml


def load(path: str, command_seconds: float | None = None) -> Config:
    """Read a configuration file. Raises what `load_text` raises, and ConfigError if unreadable."""
    config = load_text(_read(path), command_seconds)
    return replace(config, origin=replace(config.origin, path=os.path.abspath(path)))


def load_text(source: str | bytes, command_seconds: float | None = None) -> Config:
    """The configuration that a TOML text describes; it may still be wrong, see the validators.

    Runs `config_command`, for as long as it takes or `command_seconds`, and reads
    `auth.token_file` if the text asks for them. Raises TOMLError
    with a position for bad syntax and most wrong types, ConfigError for everything else.
    """
    file = decode_toml(source)
    tree, unknown = file.tree, file.unknown
    if command := tree.get("config_command"):
        generated: Decoded = decode_command(command, command_seconds)
        tree, unknown = merge(tree, generated.tree), unknown + generated.unknown
    config: Config = build(Config, tree)
    config = replace(config, auth=_with_token(config.auth), origin=_origin(tree, unknown))
    return with_defaults(config)


def _with_token(auth: AuthConfig) -> AuthConfig:
    if not auth.token_file:
        return auth
    try:
        token = _read(auth.token_file)
    except ConfigError as error:
        raise ConfigError(f"reading token file: {error}") from error
    return replace(auth, token_from_file=token.decode("utf-8", "surrogateescape").strip())


def _origin(tree: Tree, unknown: Iterable[Path]) -> Origin:
    return Origin(
        given=frozenset(given_keys(Config, tree)),
        unknown_keys=tuple(_dotted(path) for path in unknown if not is_legacy(path)),
        legacy_keys=tuple(_dotted(path) for path in unknown if is_legacy(path)),
    )


def _dotted(path: Path) -> str:
    return ".".join(f"[{part}]" if isinstance(part, int) else part for part in path)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except IsADirectoryError as error:
        raise ConfigError(f"read {path}: is a directory") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"open {path}: {reason(error)}") from error
