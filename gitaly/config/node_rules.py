"""What must hold for the tables that describe the node itself; keys are relative to the table."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from gitaly.config.checks import (
    NO_TIME,
    NOT_SET,
    at_least,
    can_be_listened_on,
    directory_exists,
    file_exists,
    more_than,
    not_blank,
    not_empty,
)
from gitaly.config.errors import Problem, found
from gitaly.config.go_text import float_list_text, quote
from gitaly.config.keypair import keypair_problem
from gitaly.config.model import Config
from gitaly.config.sections import (
    AuthConfig,
    GitConfig,
    GitlabConfig,
    GitlabShellConfig,
    HooksConfig,
    HTTPSettings,
    PrometheusConfig,
    StandaloneConfig,
    StorageConfig,
    TLSConfig,
)
from gitaly.config.urls import url_problem

SETTING_KEY: Final = re.compile(r"[A-Za-z0-9]+(\.[*-/_:@a-zA-Z0-9]+)+")
TOKEN_FILE_MODES: Final = (0o600, 0o400)
MOST_TOKENS: Final = 8  # a call with a wrong one is compared with each
LISTEN_KEYS: Final = ("listen_addr", "tls_listen_addr", "prometheus_listen_addr")
STATUS_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
WEBHOOK_SCHEMES: Final = ("http://", "https://", "http+unix://")


def address_problems(config: Config) -> Iterator[Problem]:
    """The original learns of such an address when it listens."""
    for key in LISTEN_KEYS:
        if address := getattr(config, key):
            yield from found(can_be_listened_on(address), key)


def git_problems(git: GitConfig) -> Iterator[Problem]:
    """The settings have no index in their keys; tools know them so."""
    for setting in git.config:
        yield from found(setting_key_problem(setting.key), "config", "key")


def setting_key_problem(key: str) -> str | None:
    """What git would not understand about the key of a setting."""
    if not key:
        return NOT_SET
    if "=" in key:
        return f'key {quote(key)} cannot contain "="'
    if "." not in key:
        return f"key {quote(key)} must contain at least one section"
    if key.startswith(".") or key.endswith("."):
        return f"key {quote(key)} must not start or end with a dot"
    if not SETTING_KEY.fullmatch(key):
        return f"key {quote(key)} failed regexp validation"
    return None


def storage_problems(storages: Sequence[StorageConfig]) -> Iterator[Problem]:
    """Each storage by itself first, then each against those before it."""
    yield from found(None if storages else NOT_SET)
    for index, storage in enumerate(storages):
        yield from found(not_empty(storage.name), f"[{index}]", "name")
        yield from found(directory_exists(storage.path), f"[{index}]", "path")
    for index, storage in enumerate(storages):
        for other in storages[:index]:
            for problem in _rivalry(storage, other):
                yield problem.below(f"[{index}]")


def _rivalry(storage: StorageConfig, other: StorageConfig) -> Iterator[Problem]:
    if storage.name == other.name:
        yield Problem(("name",), f"not unique: {quote(storage.name)}")
    if storage.path == other.path:
        yield Problem(("path",), f"not unique: {quote(storage.path)}")
    elif _nested(storage.path, other.path):
        yield Problem(("path",), f"can't nest: {quote(storage.path)} and {quote(other.path)}")


def _nested(path: str, other: str) -> bool:
    """Compares letters, not directories: /a/foo and /a/foobar/x count as nested, as they always
    did, but neighbours in one directory never do.
    """
    if not path or not other or os.path.dirname(path) == os.path.dirname(other):
        return False
    return path.startswith(other) or other.startswith(path)


def prometheus_problems(prometheus: PrometheusConfig) -> Iterator[Problem]:
    """Without buckets nothing else is checked."""
    for place, host in enumerate(prometheus.status_page_hosts):
        if not STATUS_HOST.fullmatch(host):
            text = f'{quote(host)} is not a name; allowed: "gitaly1.internal", without a port'
            yield Problem(("status_page_hosts", f"[{place}]"), text)
    buckets = prometheus.grpc_latency_buckets
    if not buckets:
        return
    yield from found(at_least(prometheus.scrape_timeout, NO_TIME), "scrape_timeout")
    if list(buckets) != sorted(buckets):
        text = f"bad order: expected asc: {float_list_text(buckets)}"
        yield Problem(("grpc_latency_buckets",), text)


def auth_problems(auth: AuthConfig) -> Iterator[Problem]:
    """The file of a secret must be closed to others."""
    if auth.token and auth.token_file:
        yield Problem(("token", "token_file"), "token and token_file are mutually exclusive")
    elif auth.token_file:
        yield from found(file_exists(auth.token_file), "token_file")
        yield from found(_mode_problem(auth.token_file), "token_file")
        yield from found(_emptiness(auth), "token_file")
    yield from _tokens_problems(auth.tokens)


def _emptiness(auth: AuthConfig) -> str | None:
    """A file that is being written would switch authentication off; the original lets it."""
    if auth.token_from_file or not os.path.isfile(auth.token_file):
        return None
    return "the file holds no token; to let everybody in, remove the key"


def _tokens_problems(tokens: Sequence[str]) -> Iterator[Problem]:
    """Places are named, never what stands there."""
    if len(tokens) > MOST_TOKENS:
        text = f"{len(tokens)} tokens, at most {MOST_TOKENS} can be valid at once"
        yield Problem(("tokens",), text)
    for index, token in enumerate(tokens):
        if not token:
            text = "empty: everybody could sign with it; allowed: a text that is not empty"
            yield Problem(("tokens", f"[{index}]"), text)
        elif token in tokens[:index]:
            text = f"the same token as [{tokens.index(token)}]; allowed: each token once"
            yield Problem(("tokens", f"[{index}]"), text)


def _mode_problem(path: str) -> str | None:
    try:
        permissions = stat.S_IMODE(os.stat(path).st_mode) & 0o777
    except (OSError, ValueError):
        return None  # told already
    if permissions in TOKEN_FILE_MODES:
        return None
    octal = f"0{permissions:o}" if permissions else "0"
    return f"file permission {octal} is too permissive, should be 0600 or 0400"


def tls_problems(tls: TLSConfig) -> Iterator[Problem]:
    """The pair is loaded only if its files are there."""
    if not (tls.certificate_path or tls.key_path or tls.key):
        return
    if tls.key and tls.key_path:
        yield Problem(("key_path", "key"), "key_path and key cannot both be set")
        return
    missing = [*found(file_exists(tls.certificate_path), "certificate_path")]
    if not tls.key:
        missing += found(file_exists(tls.key_path), "key_path")
    if missing:
        yield from missing
    elif problem := keypair_problem(tls.certificate_path, tls.key_path, tls.key):
        yield problem


def gitlab_problems(gitlab: GitlabConfig) -> Iterator[Problem]:
    """The internal API is asked for even of a node that runs without one."""
    yield from found(not_blank(gitlab.url) or url_problem(gitlab.url), "url")
    if gitlab.secret and gitlab.secret_file:
        yield Problem(("secret", "secret_file"), "ambiguous secret configuration")
    if not gitlab.secret:
        yield from found(file_exists(gitlab.secret_file), "secret_file")
    for problem in _http_problems(gitlab.http_settings):
        yield problem.below("http-settings")


def _http_problems(http: HTTPSettings) -> Iterator[Problem]:
    if http.user or http.password:
        yield from found(not_blank(http.user), "user")
        yield from found(not_blank(http.password), "password")
    if http.ca_file:
        yield from found(file_exists(http.ca_file), "ca_file")
    if http.ca_path:
        yield from found(directory_exists(http.ca_path), "ca_path")


def gitlab_shell_problems(shell: GitlabShellConfig) -> Iterator[Problem]:
    """Deprecated, yet it must exist if it is given."""
    if shell.dir:
        yield from found(directory_exists(shell.dir), "dir")


def hooks_problems(hooks: HooksConfig) -> Iterator[Problem]:
    """Only of the key that is this node's own."""
    yield from found(at_least(hooks.custom_hooks_timeout, NO_TIME), "custom_hooks_timeout")


def standalone_problems(standalone: StandaloneConfig) -> Iterator[Problem]:
    """A table of this node alone."""
    for key in ("webhook_before", "webhook_after"):
        url = getattr(standalone, key)
        if url and not url.startswith(WEBHOOK_SCHEMES):
            yield Problem((key,), f"not an http, https or http+unix URL: {quote(url)}")
    yield from found(more_than(standalone.webhook_timeout, NO_TIME), "webhook_timeout")
