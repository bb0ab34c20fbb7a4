from pathlib import Path

import pytest

from tests.config.good import told
from tests.config.pem import CERTIFICATE, KEY, OTHER_KEY

BROKEN_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BROKEN_KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
OTHER_BLOCK = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"


def tls(directory: Path, certificate: str, key: str) -> list[str]:
    (directory / "crt").write_text(certificate)
    (directory / "key").write_text(key)
    text = f'[tls]\ncertificate_path = "{directory}/crt"\nkey_path = "{directory}/key"\n'
    return [problem for problem in told(text) if problem.startswith("tls.")]


def inline(directory: Path, certificate: str, key: str) -> list[str]:
    (directory / "crt").write_text(certificate)
    text = f'[tls]\ncertificate_path = "{directory}/crt"\nkey = """{key}"""\n'
    return [problem for problem in told(text) if problem.startswith("tls.")]


def test_a_certificate_and_its_key_are_good(tmp_path: Path) -> None:
    assert tls(tmp_path, CERTIFICATE, KEY) == []
    assert inline(tmp_path, CERTIFICATE, KEY) == []


def test_both_may_be_in_one_file(tmp_path: Path) -> None:
    assert tls(tmp_path, KEY + CERTIFICATE, CERTIFICATE + KEY) == []


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (
            CERTIFICATE,
            OTHER_KEY,
            "tls.key_path: loading x509 keypair: tls: private key does not match public key",
        ),
        (
            "",
            KEY,
            "tls.certificate_path: loading x509 keypair: "
            "tls: failed to find any PEM data in certificate input",
        ),
        (
            KEY,
            KEY,
            "tls.certificate_path: loading x509 keypair: "
            "tls: failed to find certificate PEM data in certificate input, "
            "but did find a private key; PEM inputs may have been switched",
        ),
        (
            OTHER_BLOCK,
            KEY,
            "tls.certificate_path: loading x509 keypair: "
            'tls: failed to find "CERTIFICATE" PEM block in certificate input '
            "after skipping PEM blocks of the following types: [DH PARAMETERS]",
        ),
        (
            CERTIFICATE,
            "",
            "tls.key_path: loading x509 keypair: tls: failed to find any PEM data in key input",
        ),
        (
            CERTIFICATE,
            CERTIFICATE,
            "tls.key_path: loading x509 keypair: "
            "tls: found a certificate rather than a key in the PEM for the private key",
        ),
        (
            CERTIFICATE,
            OTHER_BLOCK,
            "tls.key_path: loading x509 keypair: "
            'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input '
            "after skipping PEM blocks of the following types: [DH PARAMETERS]",
        ),
        (
            BROKEN_CERTIFICATE,
            KEY,
            "tls.key_path: loading x509 keypair: x509: malformed certificate",
        ),
        (
            CERTIFICATE,
            BROKEN_KEY,
            "tls.key_path: loading x509 keypair: tls: failed to parse private key",
        ),
    ],
)
def test_a_bad_pair_is_refused_in_gos_words(
    tmp_path: Path, certificate: str, key: str, problem: str
) -> None:
    assert tls(tmp_path, certificate, key) == [problem]


def test_a_bad_inline_key_is_told_of_the_inline_key(tmp_path: Path) -> None:
    assert inline(tmp_path, CERTIFICATE, OTHER_KEY) == [
        "tls.key: loading x509 keypair: tls: private key does not match public key"
    ]


def test_two_keys_are_one_too_many_and_nothing_else_is_told(tmp_path: Path) -> None:
    assert [p for p in told('[tls]\nkey = "x"\nkey_path = "/none"') if p.startswith("tls")] == [
        "tls.key_path.key: key_path and key cannot both be set"
    ]


def test_missing_files_are_told_together() -> None:
    text = '[tls]\ncertificate_path = "/none.crt"\nkey_path = "/none.key"'
    assert [problem for problem in told(text) if problem.startswith("tls")] == [
        'tls.certificate_path: doesn\'t exist: "/none.crt"',
        'tls.key_path: doesn\'t exist: "/none.key"',
    ]
