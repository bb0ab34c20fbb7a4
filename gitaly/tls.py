"""The node's side of TLS: as a server, and as a client of GitLab."""

import os
import ssl
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from gitaly.config import HTTPSettings, TLSConfig, TLSVersion
from gitaly.errors import NodeError
from gitaly.transport.certificate import BadCertificate, Certificate, certificates_of

DAY_SECONDS: Final = 86400
WARNING_SECONDS: Final = 30 * DAY_SECONDS
URGENT_SECONDS: Final = 7 * DAY_SECONDS
REASONS: Final[Mapping[str, str]] = MappingProxyType(  # what OpenSSL's codes mean
    {
        "KEY_VALUES_MISMATCH": "the key is not that of the certificate (the first one in its file)",
        "KEY_TYPE_MISMATCH": "the key is not that of the certificate: not even of its type",
        "NO_CERTIFICATE_ASSIGNED": "the key is not that of the certificate: not even of its type",
    }
)


class UnusableCertificate(NodeError):
    """Certificate and key do not make a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a listener shows to its clients."""

    context: ssl.SSLContext
    chain: Sequence[Certificate]  # all that is shown, the node's own first

    @property
    def name(self) -> str:
        """Whose it is, for a line of text."""
        return self.chain[0].name if self.chain else "unknown"

    @property
    def first_to_expire(self) -> Certificate | None:
        """Clients go by all of them, so the first that expires ends the matter."""
        return min(self.chain, key=lambda found: found.not_after, default=None)

    @property
    def fingerprints(self) -> Sequence[str]:
        """By which two chains are the same."""
        return [certificate.fingerprint for certificate in self.chain]

    def expires_soon(self, now: float) -> bool:
        """Whether so little is left that whoever renews it has probably failed to.

        That is a quarter of its life, 30 days at most; programs that renew begin at a third.
        """
        return self._is_within(now, 4, WARNING_SECONDS)

    def expires_now(self, now: float) -> bool:
        """Whether nothing should be done before this: a twelfth is left, 7 days at most."""
        return self._is_within(now, 12, URGENT_SECONDS)

    def _is_within(self, now: float, part: int, most_seconds: float) -> bool:
        first = self.first_to_expire
        if first is None:
            return False
        life = first.not_after - first.not_before
        return first.not_after - now < min(most_seconds, life / part)

    def trouble(self, now: float) -> str | None:
        """Why every client refuses it at that time, in seconds since 1970; None: none need to."""
        for certificate in self.chain:
            if now > certificate.not_after:
                return f"{certificate.name}: expired at {utc(certificate.not_after)}"
            if now < certificate.not_before:
                return f"{certificate.name}: not valid before {utc(certificate.not_before)}"
        return None


def utc(seconds: float) -> str:
    """A time as it stands in logs."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def server_identity(config: TLSConfig) -> Identity:
    """Certificate, key and lowest version of a listener, as the files are now.

    Clients need not offer ALPN; those that do are offered h2. No client certificate is asked for.
    Raises UnusableCertificate; a certificate that has expired is usable, see `Identity.trouble`.
    """
    if not config.certificate_path or not (config.key or config.key_path):
        raise UnusableCertificate(
            "load certificate: tls_listen_addr needs tls.certificate_path and tls.key_path"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3
        if config.min_version is TLSVersion.TLS_1_3
        else ssl.TLSVersion.TLSv1_2
    )
    context.set_alpn_protocols(["h2"])
    pem = _load_pair(context, config)
    try:
        chain = certificates_of(pem)
    except BadCertificate as error:
        raise UnusableCertificate(
            f"load certificate: {config.certificate_path}: {error}"
        ) from error
    return Identity(context=context, chain=chain)


def exposure(config: TLSConfig) -> str | None:
    """Who else can read or change the file of the key; None: nobody, or there is no such file.

    The reference asks nothing, and guides for it tell to make the key readable to all; so this is
    a warning and no error. A group that reads the key of another user, as with a key of root's, is
    how a node gets to a key that is not its own.
    """
    if config.key or not config.key_path:
        return None
    try:
        found = os.stat(config.key_path)
    except OSError:
        return None  # whoever loads it says so
    mode = stat.S_IMODE(found.st_mode)
    needed = 0o740 if found.st_uid != os.geteuid() else 0o700
    if not mode & ~needed & 0o077:
        return None
    return f"{config.key_path} has mode {mode:04o}: others than the node's user can get at the key"


def gitlab_context(http: HTTPSettings, own: TLSConfig) -> ssl.SSLContext:
    """Whom to trust as GitLab: the system's certificates and the operator's. Read once.

    A certificate of the node is shown to a server that asks for one. Verification cannot be
    switched off. Raises UnusableCertificate. Source: Gitaly, internal/gitlab/client/httpclient.go.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if http.ca_file:
        try:
            context.load_verify_locations(cafile=http.ca_file)
        except FileNotFoundError as error:
            raise UnusableCertificate(
                f'cannot find cafile "{http.ca_file}": {error.strerror}'
            ) from error
        except OSError as error:
            raise UnusableCertificate(f"gitlab.http-settings.ca_file: {error}") from error
    if http.ca_path:
        for name in sorted(os.listdir(http.ca_path)) if os.path.isdir(http.ca_path) else ():
            with suppress(OSError):  # not a certificate; there are others
                context.load_verify_locations(cafile=os.path.join(http.ca_path, name))
    if own.certificate_path and (own.key or own.key_path):
        _load_pair(context, own)
    return context


def _no_password() -> str:
    """OpenSSL would ask the terminal, and the start would wait for somebody to type."""
    raise UnusableCertificate("load certificate: the key is encrypted: only plain keys are read")


def _load_pair(context: ssl.SSLContext, config: TLSConfig) -> bytes:
    """Load certificate and key; the PEM text of the certificate.

    Each file is read once, so that all we say of the pair is said of the same one.
    """
    where = f"{config.certificate_path}, {'tls.key' if config.key else config.key_path}"
    try:
        certificate = _content(config.certificate_path)
        key = config.key.encode() if config.key else _content(config.key_path)
        with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
            context.load_cert_chain(certificate_path, key_path, _no_password)
    except OSError as error:  # ssl.SSLError is one; its own words are a line of C
        why = error.strerror
        if isinstance(error, ssl.SSLError):
            why = REASONS.get(error.reason or "", error.reason)
        why = why or "not a certificate and a key in PEM"
        raise UnusableCertificate(f"load certificate: {where}: {why}") from error
    return certificate


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to the content for the length of the block: OpenSSL reads from files only, and a key
    has no business on a disk."""
    with open(os.memfd_create("pem", os.MFD_CLOEXEC), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
