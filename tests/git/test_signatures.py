import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.errors import Internal
from gitaly.git import NO_SIGNING_KEYS, SigningKeyFiles
from tests.git.keys import TEXT, GnuPG, gnupg, run, ssh_key, ssh_signature

OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n"
SSH_KINDS = [
    ("-t", "ed25519"),
    ("-t", "rsa", "-b", "2048"),
    *(("-t", "ecdsa", "-b", bits) for bits in ("256", "384", "521")),
]


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[GnuPG]:
    with gnupg(tmp_path / "ring") as ring:
        yield ring


def made(key: Path, signature: bytes, text: bytes = TEXT) -> bool:
    return SigningKeyFiles(str(key)).all().have_made(signature, text)


@pytest.mark.parametrize("kind", SSH_KINDS, ids=lambda kind: "".join(kind[1::2]))
def test_a_signature_of_an_ssh_key_is_recognised(tmp_path: Path, kind: tuple[str, ...]) -> None:
    key = ssh_key(tmp_path, *kind)
    signature = ssh_signature(key)
    assert made(key, signature)
    assert made(key, signature + b"\n")
    assert not made(key, signature, TEXT + b"\n")
    assert not made(key, signature, b"")


@pytest.mark.parametrize("kind", SSH_KINDS, ids=lambda kind: "".join(kind[1::2]))
def test_no_changed_byte_of_an_ssh_signature_is_overlooked(
    tmp_path: Path, kind: tuple[str, ...]
) -> None:
    key = ssh_key(tmp_path, *kind)
    begin, *lines, end = ssh_signature(key).split(b"\n")
    blob = base64.b64decode(b"".join(lines))
    public = base64.b64decode((tmp_path / "key.pub").read_bytes().split()[1])
    named = range(blob.index(public), blob.index(public) + len(public))  # ours is taken anyway
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        signature = b"\n".join([begin, base64.b64encode(changed), end])
        assert made(key, signature) is (place in named), place
        cut = b"\n".join([begin, base64.b64encode(blob[:place]), end])
        assert not made(key, cut), place


def test_the_key_of_somebody_else_is_not_the_nodes(tmp_path: Path) -> None:
    key, other = ssh_key(tmp_path), ssh_key(tmp_path, name="other")
    assert not made(key, ssh_signature(other))


def test_a_signature_for_another_purpose_does_not_count(tmp_path: Path) -> None:
    key = ssh_key(tmp_path)
    assert not made(key, ssh_signature(key, namespace="file"))
    assert not made(key, ssh_signature(key, TEXT, "-O", "hashalg=sha256"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"abc",
        b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----",
        b"-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----",
        b"-----BEGIN SSH SIGNATURE-----\n!\n-----END SSH SIGNATURE-----",
        b"-----BEGIN SSH SIGNATURE-----\nAAA\n-----END SSH SIGNATURE-----",
        b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----",
        b"-----BEGIN SIGNED MESSAGE-----\nabc\n-----END SIGNED MESSAGE-----",
    ],
)
def test_what_is_no_signature_was_made_by_nobody(tmp_path: Path, text: bytes) -> None:
    assert not made(ssh_key(tmp_path), text)


def test_text_around_an_ssh_signature_spoils_it(tmp_path: Path) -> None:
    key = ssh_key(tmp_path)
    signature = ssh_signature(key)
    assert not made(key, signature + b"\nmore")
    assert not made(key, b"more\n" + signature)
    assert not made(key, signature.replace(b"\n", b"\r\n"))
    assert not made(key, signature + b"\n" + signature)


@pytest.mark.parametrize("kind", [("ed25519",), ("rsa2048",), ("nistp256",)], ids=str)
def test_a_signature_of_an_openpgp_key_is_recognised(
    tmp_path: Path, ring: GnuPG, kind: tuple[str, ...]
) -> None:
    owner = ring.key(*kind)
    key = tmp_path / "key"
    key.write_bytes(ring.exported(owner))
    signature = ring.signature(owner)
    assert made(key, signature)
    assert not made(key, signature, TEXT + b"x")
    assert made(key, ring.signature(owner, TEXT, "--textmode"))
    assert not made(key, ring.signature(ring.key("ed25519")))
    assert not made(key, signature[:-60])
    assert not made(key, signature.replace(b"PGP SIGNATURE", b"PGP MESSAGE"))


def test_openpgp_keys_may_be_armored(tmp_path: Path, ring: GnuPG) -> None:
    owner = ring.key("ed25519")
    key = tmp_path / "key"
    key.write_bytes(ring.exported(owner, "--armor"))
    assert made(key, ring.signature(owner))


def test_an_openpgp_key_that_was_revoked_has_made_nothing(tmp_path: Path, ring: GnuPG) -> None:
    owner = ring.key("ed25519")
    key = tmp_path / "key"
    signature = ring.signature(owner)
    key.write_bytes(ring.exported(owner))
    assert made(key, signature)
    [revocation] = (ring.home / "openpgp-revocs.d").iterdir()
    ring.run("--import", data=revocation.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))
    key.write_bytes(ring.exported(owner))
    assert not made(key, signature)


def test_an_openpgp_key_that_has_expired_has_made_nothing(tmp_path: Path, ring: GnuPG) -> None:
    owner = ring.key("ed25519", "default", "seconds=1000000")
    key = tmp_path / "key"
    signature = ring.signature(owner)
    key.write_bytes(ring.exported(owner))
    assert made(key, signature)
    ring.clock = "--faked-system-time=20200101T000000"
    expired = ring.key("ed25519", "default", "seconds=1000000")
    key.write_bytes(ring.exported(expired))
    assert not made(key, ring.signature(expired))


def test_earlier_keys_of_any_kind_count_too(tmp_path: Path, ring: GnuPG) -> None:
    first, second = ssh_key(tmp_path, name="first"), ssh_key(tmp_path, name="second")
    owner = ring.key("ed25519")
    third = tmp_path / "third"
    third.write_bytes(ring.exported(owner))
    keys = SigningKeyFiles(str(first), [str(second), str(third)]).all()
    assert keys.have_made(ssh_signature(first), TEXT)
    assert keys.have_made(ssh_signature(second), TEXT)
    assert keys.have_made(ring.signature(owner), TEXT)
    assert not keys.have_made(ssh_signature(ssh_key(tmp_path, name="fourth")), TEXT)


def test_a_node_without_a_key_of_today_has_none() -> None:
    assert not NO_SIGNING_KEYS
    assert not SigningKeyFiles("", ["/a/former/key"])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "open file: no such file or directory"),
        (b"", "read entity: EOF"),
        (b"abc", "read entity: openpgp: invalid data: tag byte does not have MSB set"),
        (b"\x99\x01", "read entity: openpgp: invalid data: not an OpenPGP key"),
        (
            b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
            "read entity: openpgp: invalid data: tag byte does not have MSB set",
        ),
        (b"-----BEGIN OPENSSH", "parse private key: ssh: no key found"),
        (
            OPENSSH.replace(b"PRIVATE", b"OTHER") % b"AAAA",
            'parse private key: ssh: unsupported key type "OPENSSH OTHER KEY"',
        ),
        (
            OPENSSH % b"AAAA",
            "parse private key: ssh: invalid openssh private key format",
        ),
        (
            OPENSSH % base64.b64encode(b"openssh-key-v1\0\0\0"),
            "parse private key: ssh: invalid openssh private key format",
        ),
    ],
)
def test_what_is_wrong_with_a_key_is_said_without_its_path(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    good, path = ssh_key(tmp_path), tmp_path / "bad"
    if content is not None:
        path.write_bytes(content)
    for files in (SigningKeyFiles(str(path)), SigningKeyFiles(str(good), [str(path)])):
        with pytest.raises(Internal) as caught:
            files.all()
        assert caught.value.message == f"failed to parse signing key: {text}"


def test_a_key_with_a_passphrase_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(path))
    with pytest.raises(Internal, match=r"ssh: this private key is passphrase protected\Z"):
        SigningKeyFiles(str(path)).all()


def test_a_new_key_in_the_file_counts_at_once(tmp_path: Path) -> None:
    path = ssh_key(tmp_path)
    files = SigningKeyFiles(str(path))
    old = ssh_signature(path)
    assert files.all().have_made(old, TEXT)
    ssh_key(tmp_path, name="new").replace(path)
    assert not files.all().have_made(old, TEXT)


def test_the_line_for_others_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    path = ssh_key(tmp_path)
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(path)], check=True, capture_output=True
    ).stdout
    line = SigningKeyFiles(str(path)).primary().public_key()
    assert line == b" ".join(derived.split()[:2]) + b"\n"
