"""Whom a node trusts as its GitLab."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.config import HTTPSettings, TLSConfig
from gitaly.hooks.gitlab import HttpClient, Unreachable, api_endpoint
from gitaly.tls import UnusableCertificate, gitlab_context
from tests.hooks.gitlab.server import GitLabServer


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[tuple[GitLabServer, Path]]:
    cert, key = make_certificate(tmp_path, "gitlab")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with GitLabServer().serving(tls=context) as server:
        yield server, cert


async def answers(server: GitLabServer, context: ssl.SSLContext) -> bool:
    endpoint = api_endpoint(f"https://127.0.0.1:{server.address}").below("/check")
    try:
        return (await HttpClient(context, 10).exchange("GET", endpoint)).status == 200
    except Unreachable:
        return False


async def test_a_self_signed_certificate_is_trusted_if_the_operator_names_it(
    gitlab: tuple[GitLabServer, Path], tmp_path: Path
) -> None:
    server, cert = gitlab
    directory = tmp_path / "ca"
    directory.mkdir()
    (directory / "README").write_text("not a certificate")
    (directory / "gitlab.crt").write_bytes(cert.read_bytes())
    by_file = gitlab_context(HTTPSettings(ca_file=str(cert)), TLSConfig())
    by_path = gitlab_context(HTTPSettings(ca_path=str(directory)), TLSConfig())
    by_nobody = gitlab_context(HTTPSettings(), TLSConfig())
    assert await answers(server, by_file)
    assert await answers(server, by_path)
    assert not await answers(server, by_nobody)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UnusableCertificate, match=r"ca_?file"):
        gitlab_context(HTTPSettings(ca_file=str(path)), TLSConfig())


async def test_the_certificate_of_the_node_is_shown_to_a_gitlab_that_asks(
    tmp_path: Path,
) -> None:
    cert, key = make_certificate(tmp_path, "gitlab")
    own_cert, own_key = make_certificate(tmp_path, "node")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(own_cert)
    context.verify_mode = ssl.CERT_REQUIRED
    http = HTTPSettings(ca_file=str(cert))
    own = TLSConfig(certificate_path=str(own_cert), key=own_key.read_text())
    with GitLabServer().serving(tls=context) as server:
        assert await answers(server, gitlab_context(http, own))
        assert not await answers(server, gitlab_context(http, TLSConfig()))
