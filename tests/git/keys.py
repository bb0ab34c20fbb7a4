"""Keys and signatures, made by ssh-keygen and gpg, as git makes them for commits."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TEXT = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\na text\n"


def ssh_key(directory: Path, *options: str, name: str = "key") -> Path:
    """A new private key without a passphrase; its public half is beside it."""
    path = directory / name
    kind = options or ("-t", "ed25519")
    run("ssh-keygen", "-q", "-N", "", "-C", "a comment", "-f", str(path), *kind)
    return path


def ssh_signature(key: Path, text: bytes = TEXT, *options: str, namespace: str = "git") -> bytes:
    """As it is in a commit, where the last line feed has gone."""
    signed = run("ssh-keygen", "-Y", "sign", "-n", namespace, *options, "-f", str(key), data=text)
    return signed.removesuffix(b"\n")


@contextmanager
def gnupg(home: Path) -> Iterator["GnuPG"]:
    """A keyring of its own; its agent ends with the block."""
    home.mkdir(mode=0o700)
    try:
        yield GnuPG(home)
    finally:
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "all"], check=True, capture_output=True
        )


class GnuPG:
    """gpg with a keyring."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.count = 0
        self.clock = "--no-options"  # or that for another time

    def key(self, *parameters: str) -> str:
        """Make a key for somebody; their address."""
        self.count += 1
        address = f"node{self.count}@example.com"
        self.run("--passphrase", "", "--quick-generate-key", address, *parameters)
        return address

    def exported(self, address: str, *options: str) -> bytes:
        """The private key with all that belongs to it."""
        return self.run(*options, "--export-secret-keys", address)

    def signature(self, address: str, text: bytes = TEXT, *options: str) -> bytes:
        """As git lets gpg make it, and as it is in a commit."""
        made = self.run("--local-user", address, *options, "--detach-sign", "--armor", data=text)
        return made.removesuffix(b"\n")

    def run(self, *args: str, data: bytes = b"") -> bytes:
        return run(
            "gpg", "--homedir", str(self.home), "--batch", "--quiet", self.clock, *args, data=data
        )


def run(*command: str, data: bytes = b"") -> bytes:
    """Its output; the test is skipped if there is no such program."""
    try:
        done = subprocess.run(command, input=data, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"no {command[0]} here")
    return done.stdout
