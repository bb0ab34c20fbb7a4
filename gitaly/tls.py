"""The node's side of TLS: as a server, and as a client of GitLab."""

import os
import ssl
from contextlib import suppress

from gitaly.config import HTTPSettings, TLSConfig, TLSVersion
from gitaly.errors import NodeError
from gitaly.runtime_dir import RuntimeDirectory


class UnusableCertificate(NodeError):
    """Certificate and key do not make a server."""


def server_context(config: TLSConfig, runtime: RuntimeDirectory) -> ssl.SSLContext:
    """Certificate, key and lowest version of a listener; read once. Raises UnusableCertificate.

    Clients need not offer ALPN; those that do are offered h2. No client certificate is asked for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3
        if config.min_version is TLSVersion.TLS_1_3
        else ssl.TLSVersion.TLSv1_2
    )
    context.set_alpn_protocols(["h2"])
    _load_pair(context, config, runtime)
    return context


def gitlab_context(http: HTTPSettings, own: TLSConfig, runtime: RuntimeDirectory) -> ssl.SSLContext:
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
        _load_pair(context, own, runtime)
    return context


def _no_password() -> str:
    """OpenSSL would ask the terminal, and the start would wait for somebody to type."""
    raise UnusableCertificate("load certificate: the key is encrypted: only plain keys are read")


def _load_pair(context: ssl.SSLContext, config: TLSConfig, runtime: RuntimeDirectory) -> None:
    try:
        if config.key:
            _load_inline_key(context, config, runtime)
        else:
            context.load_cert_chain(config.certificate_path, config.key_path, _no_password)
    except OSError as error:  # ssl.SSLError is one; its own words are a line of C
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        why = why or "not a certificate and a key in PEM"
        where = f"{config.certificate_path}, {'tls.key' if config.key else config.key_path}"
        raise UnusableCertificate(f"load certificate: {where}: {why}") from error


def _load_inline_key(context: ssl.SSLContext, config: TLSConfig, runtime: RuntimeDirectory) -> None:
    """OpenSSL reads keys from files only; this one lives as long as the reading takes."""
    path = os.path.join(runtime.path, "tls-key")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(config.key)
        context.load_cert_chain(config.certificate_path, path, _no_password)
    finally:
        os.unlink(path)
