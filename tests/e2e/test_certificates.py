"""Certificates as operators live with them: served, watched, renewed while everybody works."""

import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitaly.transport.certificate import certificates_of
from tests.e2e.authority import Authority, Pair, openssl
from tests.e2e.clients import ENVIRONMENT, Way, is_sound
from tests.e2e.conftest import make_bare
from tests.e2e.looking import Looker
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import BIN, NodeProcess, terminate_group, wait_until
from tests.e2e.reloading import append, edit, reload, reloaded

EXPIRY = "gitaly_tls_certificate_expiry_timestamp_seconds"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # empty settings
CLIENTS = 4


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@dataclass
class Served:
    """A node that serves a certificate from its own files, as an operator has put them there."""

    node: NodeProcess
    page: MetricsPage
    root: Path

    @property
    def config(self) -> Path:
        return self.node.directory / "config.toml"

    def put(self, pair: Pair) -> None:
        """Copy a certificate and its key to where the node looks for them."""
        assert self.node.certificate is not None
        shutil.copy(pair.certificate, self.node.certificate)
        shutil.copy(pair.key, self.node.certificate.with_suffix(".key"))

    def context(self) -> ssl.SSLContext:
        """Of a client that trusts the root, and nobody else."""
        return ssl.create_default_context(cafile=str(self.root))

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.node.tls), timeout=20)
        try:
            return (context or self.context()).wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise

    def fingerprint(self) -> str:
        """Of the certificate that a new connection sees."""
        with self.connect() as connection:
            return fingerprint(connection)

    def s_client(self, *options: str) -> "subprocess.CompletedProcess[str]":
        where = ("-connect", f"127.0.0.1:{self.node.tls}", "-CAfile", str(self.root))
        return subprocess.run(
            ["openssl", "s_client", *where, *options],
            input="",
            capture_output=True,
            text=True,
            timeout=20,
        )


Make = Callable[[Pair], Served]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Make]:
    """Starts nodes that serve a certificate."""
    made: list[Served] = []

    def start(pair: Pair) -> Served:
        directory, page = tmp_path_factory.mktemp("n"), MetricsPage()
        node = NodeProcess(directory, top=page.configuration, certificate=directory / "node.crt")
        here = Served(node, page, authority.root)
        made.append(here)
        here.put(pair)
        node.start()
        return here

    yield start
    for here in made:
        here.node.stop()


@pytest.fixture(scope="module")
def shared(make: Make, authority: Authority) -> Served:
    return make(authority.issue("shared"))


@pytest.fixture
def served(shared: Served, authority: Authority) -> Iterator[Make]:
    """Makes the node of all tests serve a certificate. Afterwards its file is what it was."""
    text = shared.config.read_text()

    def serve(pair: Pair) -> Served:
        shared.put(pair)
        reloaded(shared.node)
        return shared

    yield serve
    shared.config.write_text(text)
    serve(authority.issue("shared"))


def fingerprint(connection: ssl.SSLSocket) -> str:
    found = connection.getpeercert(binary_form=True)
    assert found is not None
    return hashlib.sha256(found).hexdigest()


class Load:
    """Clients who connect again and again; each connection gets the first words of the server."""

    def __init__(self, here: Served) -> None:
        self.seen: list[str] = []  # fingerprints, one for each connection
        self.failed: list[str] = []
        self._here = here
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    @contextmanager
    def running(self) -> Iterator["Load"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def more(self, count: int) -> None:
        """Wait for so many further connections."""
        wanted = len(self.seen) + count
        wait_until(lambda: len(self.seen) + len(self.failed) >= wanted, "connections")

    def _run(self) -> None:
        context = self._here.context()
        while not self._stop.is_set():
            try:
                with self._here.connect(context) as connection:
                    connection.sendall(PREFACE)
                    assert connection.recv(9)[3] == 4  # the settings of the server
                    self.seen.append(fingerprint(connection))
            except (OSError, AssertionError, IndexError) as error:
                self.failed.append(repr(error))


@contextmanager
def stopped_clone(way: Way, target: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A clone that has got something and is held there, for the block to let it go on."""
    clone = way.start("clone", "--bare", "--quiet", way.url, str(target))
    try:
        while clone.poll() is None and not any(target.glob("objects/pack/tmp_pack_*")):
            time.sleep(0.001)
        os.killpg(clone.pid, signal.SIGSTOP)
        assert clone.poll() is None, "it is over before it could be held"
        yield clone
    finally:
        if clone.poll() is None:
            terminate_group(clone)
        clone.communicate()


def test_renewing_a_certificate_under_load(
    served: Make, authority: Authority, big: Path, tmp_path: Path
) -> None:
    old, new = authority.issue("old"), authority.issue("new", days=15)
    here = served(old)
    make_bare(here.node, "big.git", source=big)
    way = Way(
        node=here.node,
        repository="big.git",
        listener="tls",
        extra={"SSL_CERT_FILE": str(here.root)},
    )

    # A clone has begun, and others come and go.
    with Load(here).running() as load, stopped_clone(way, tmp_path / "copy.git") as clone:
        load.more(50)
        assert set(load.seen) == {old.fingerprint()}

        # $ cp new.crt /etc/gitaly/node.crt && cp new.key /etc/gitaly/node.key
        # $ gitaly check config.toml && systemctl reload gitaly
        here.put(new)
        load.more(20)
        line = reloaded(here.node)
        assert line["changed"] == "tls.certificate_path (content)"
        assert line["certificate"] == "127.0.0.1, localhost"

        # $ openssl s_client -connect … </dev/null | openssl x509 -noout -fingerprint -sha256
        assert here.fingerprint() == new.fingerprint()
        before = len(load.seen)
        load.more(50 + CLIENTS)
        assert set(load.seen[before + CLIENTS :]) == {new.fingerprint()}

        # The clone does not notice.
        os.killpg(clone.pid, signal.SIGCONT)
        assert clone.wait(60) == 0
    assert is_sound(tmp_path / "copy.git")
    assert load.failed == []
    assert len(load.seen) >= 120


def test_the_time_of_the_first_that_expires_is_a_metric(served: Make, authority: Authority) -> None:
    here = served(authority.issue("short", days=5))
    address = f"127.0.0.1:{here.node.tls}"
    in_days = (here.page.sum(EXPIRY, address=address) - datetime.now(UTC).timestamp()) / 86400
    assert 4.9 < in_days <= 5
    here.put(authority.issue("long", days=300))
    reloaded(here.node)
    in_days = (here.page.sum(EXPIRY, address=address) - datetime.now(UTC).timestamp()) / 86400
    assert 19.9 < in_days <= 20.01  # the intermediate's: clients refuse the chain without it


def test_the_whole_chain_is_served(served: Make, authority: Authority) -> None:
    here = served(authority.issue("chain"))
    done = here.s_client("-verify_return_error", "-showcerts", "-verify_ip", "127.0.0.1")
    assert "Verify return code: 0 (ok)" in done.stdout
    assert done.stdout.count("BEGIN CERTIFICATE") == 2


def test_the_oldest_version_is_the_operators_and_changes_with_a_reload(
    served: Make, authority: Authority
) -> None:
    here = served(authority.issue("versions"))
    assert here.s_client("-tls1_2").returncode == 0
    assert here.s_client("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0").returncode != 0
    with here.connect() as connection:
        edit(here.node, "[tls]\n", '[tls]\nmin_version = "TLS 1.3"\n')
        assert reloaded(here.node)["changed"] == "tls.min_version"
        assert here.s_client("-tls1_2").returncode != 0
        assert here.s_client("-tls1_3").returncode == 0
        connection.sendall(PREFACE)  # who is there stays there
        assert connection.recv(9)[3] == 4


@pytest.mark.parametrize("what", ["expired", "another key", "no certificate", "gone"])
def test_a_certificate_that_helps_nobody_is_refused_and_the_old_one_stays(
    served: Make, authority: Authority, what: str
) -> None:
    good = authority.issue("good")
    here = served(good)
    certificate = here.node.certificate
    assert certificate is not None
    if what == "expired":
        here.put(authority.issue("expired", days=-1))
        said = "tls.certificate_path: 127.0.0.1, localhost: expired at "
    elif what == "another key":
        shutil.copy(authority.issue("other").key, certificate.with_suffix(".key"))
        said = "tls.key_path: loading x509 keypair: tls: private key does not match public key"
    elif what == "no certificate":
        certificate.write_text("")
        said = "tls.certificate_path: loading x509 keypair: tls: failed to find any PEM data"
    else:
        certificate.unlink()
        said = "tls.certificate_path: doesn't exist: "
    append(here.node, '[auth]\ntoken = "t"\n')
    line = reload(here.node)
    assert line["level"] == "error"
    assert line["problems"].startswith(said)
    assert here.fingerprint() == good.fingerprint()
    assert here.page.sum("gitaly_config_last_reload_successful") == 0
    way = Way(node=here.node, repository="none.git")
    assert "authentication required" not in way.try_git("ls-remote", way.url).stderr


def test_a_node_starts_with_an_expired_certificate_and_says_so(
    make: Make, authority: Authority
) -> None:
    here = make(authority.issue("late", days=-1))
    assert '"msg":"the TLS certificate is refused by every client"' in here.node.log()
    append(here.node, '[auth]\ntoken = "t"\n')
    reloaded(here.node)  # the same one as before keeps nobody from anything else
    said = Looker(here.node).gitaly("status")
    where = f"the TLS certificate of 127.0.0.1:{here.node.tls} (127.0.0.1, localhost)"
    assert said.code == 1
    assert said.stdout.splitlines()[-1].startswith(
        f"WRONG: {where} is refused by every client: 127.0.0.1, localhost: expired at "
    )
    here.put(authority.issue("in time"))
    reloaded(here.node)
    here.fingerprint()
    said = Looker(here.node).gitaly("status")
    assert said.code == 0
    assert "127.0.0.1, localhost, expires in 9 days" in said.stdout


def test_two_reloads_at_once_end_with_what_the_files_say_last(
    served: Make, authority: Authority
) -> None:
    here = served(authority.issue("first"))
    second, third = authority.issue("second"), authority.issue("third")
    here.put(second)
    os.kill(here.node.pid, signal.SIGHUP)
    here.put(third)
    os.kill(here.node.pid, signal.SIGHUP)
    wait_until(lambda: here.fingerprint() == third.fingerprint(), "the last certificate")


def check(here: Served) -> list[str]:
    done = subprocess.run(
        [BIN / "gitaly", "check", here.config], capture_output=True, text=True, timeout=60
    )
    return [*done.stdout.splitlines(), *done.stderr.splitlines(), f"exit code {done.returncode}"]


def test_check_says_how_long_the_certificate_is_good(served: Make, authority: Authority) -> None:
    here = served(authority.issue("checked", days=8))
    until = (datetime.now(UTC) + timedelta(days=8)).strftime("%Y-%m-%d")
    said = check(here)
    (line,) = [line for line in said if line.startswith("Checking TLS certificate")]
    form = (
        r"Checking TLS certificate: OK \(127.0.0.1, localhost, expires (.+)T.+Z, 8 days left, 2 in"
    )
    found = re.match(form, line)
    assert found is not None, line
    assert found[1] == until
    assert f"Checking TLS key: OK ({here.node.directory}/node.key)" in said
    assert said[-1] == "exit code 0"


def test_check_fails_for_a_certificate_that_clients_refuse(
    served: Make, authority: Authority
) -> None:
    here = served(authority.issue("good"))
    here.put(authority.issue("refused", days=-1))
    said = check(here)
    assert "Checking TLS certificate: FAILED" in said
    assert "  renew it, put the files in place, and send the node a SIGHUP" in said
    assert said[-1] == "exit code 1"


def test_a_key_that_others_can_read_is_a_warning_at_start_and_in_check(
    make: Make, authority: Authority
) -> None:
    pair = authority.issue("open")
    pair.key.chmod(0o644)
    here = make(pair)
    key = here.node.directory / "node.key"
    assert "the key of the TLS certificate is not protected" in here.node.log()
    said = check(here)
    assert (
        f"Checking TLS key: WARNING ({key} has mode 0644: others than the node's user can get at"
        " the key)" in said
    )
    assert f"  chmod 600 {key}" in said
    assert said[-1] == "exit code 0"


def test_openssl_agrees_about_the_date(authority: Authority) -> None:
    pair = authority.issue("dates", days=200)
    (found, _) = certificates_of(pair.certificate.read_bytes())
    said = openssl("x509", "-in", pair.certificate, "-noout", "-enddate")
    date = datetime.strptime(said, "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert found.not_after == date.timestamp()
    assert found.fingerprint == pair.fingerprint()


def test_the_commands_of_the_page_make_a_node_that_its_clients_trust(
    make: Make, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs/tls.md").read_text()
    for script in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, capture_output=True)
    here = replace(
        make(Pair(tmp_path / "ssl/node.crt", tmp_path / "ssl/node.key")), root=tmp_path / "ca.crt"
    )
    good = here.s_client("-verify_return_error", "-verify_hostname", "gitaly1.internal")
    assert "Verify return code: 0 (ok)" in good.stdout
    bad = here.s_client("-verify_return_error", "-verify_hostname", "gitaly2.internal")
    assert "hostname mismatch" in (bad.stdout + bad.stderr).lower()
    assert "is not protected" not in here.node.log()
    url = f"gitaly+tls://127.0.0.1:{here.node.tls}/default/none.git"
    environment = {**ENVIRONMENT, "SSL_CERT_FILE": str(here.root)}
    done = subprocess.run(["git", "ls-remote", url], env=environment, capture_output=True)
    assert b"repository not found" in done.stderr
