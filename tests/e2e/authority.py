"""Certificate authorities, and certificates of 127.0.0.1 that they sign; made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Pair:
    """A certificate with all that vouch for it but the root, and its key."""

    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """SHA-256 of the first certificate, as openssl writes it."""
        said = openssl("x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256")
        return said.partition("=")[2].replace(":", "").lower()


class Authority:
    """A root whose clients trust it, and an intermediate that signs."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.root = directory / "root.crt"
        root_key = directory / "root.key"
        openssl(
            *("req", "-x509", *KEY, "-days", "30", "-subj", "/CN=root"),
            *("-keyout", root_key, "-out", self.root),
        )
        self._intermediate = self._signed("intermediate", self.root, root_key, 20, "CA:TRUE")

    def issue(self, name: str, days: int = 10) -> Pair:
        """A new certificate with its chain; a negative number of days makes it an old one."""
        signer = self._intermediate
        leaf = self._signed(name, signer.certificate, signer.key, days, "CA:FALSE")
        chain = leaf.certificate.with_suffix(".chain")
        chain.write_bytes(leaf.certificate.read_bytes() + signer.certificate.read_bytes())
        return Pair(chain, leaf.key)

    def _signed(self, name: str, by: Path, key: Path, days: int, basic: str) -> Pair:
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        extensions.write_text(f"basicConstraints={basic}\n{NAMES}\n")
        openssl("req", "-new", *KEY, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)
        openssl(
            *("x509", "-req", "-in", request, "-CA", by, "-CAkey", key, "-CAcreateserial"),
            *("-days", str(days), "-extfile", extensions, "-out", pair.certificate),
        )
        pair.key.chmod(0o600)
        return pair
