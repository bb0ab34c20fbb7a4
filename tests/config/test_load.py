from datetime import timedelta
from pathlib import Path

import pytest

from gitaly.config import Config, ConfigError, TLSVersion, load, load_text

EVERYTHING_IN_CAPITALS = """
Socket_Path = "/run/socket"
[Git]
SIGNING_KEY = "/key"
[[git.Config]]
Key = "a.b"
[GitLab.HTTP-settings]
USER = "u"
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('socket_path = "/run/socket"\n')
    assert load(str(file)).socket_path == "/run/socket"


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(f"{tmp_path}/none.toml")
    assert str(raised.value) == f"open {tmp_path}/none.toml: no such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(str(tmp_path))
    assert str(raised.value) == f"read {tmp_path}: is a directory"


def test_values_arrive_typed() -> None:
    config = load_text(
        'listen_addr = "localhost:1"\ngraceful_restart_timeout = "1m30s"\nuse_libp2p_yamux = true\n'
        '[[storage]]\nname = "a"\npath = "/a"\n[[storage]]\nname = "b"\npath = "/b"\n'
        '[git]\nbin_path = "/opt/git"\nrotated_signing_keys = ["/x", "/y"]\n'
        "[prometheus]\ngrpc_latency_buckets = [1, 2.5]\n"
        '[tls]\nmin_version = "TLS 1.3"\n'
        "[cgroups]\ncpu_quota_us = -1\n"
    )
    assert config.listen_addr == "localhost:1"
    assert config.graceful_restart_timeout == timedelta(seconds=90)
    assert config.use_libp2p_yamux is True
    assert [(s.name, s.path) for s in config.storages] == [("a", "/a"), ("b", "/b")]
    assert config.git.bin_path == "/opt/git"
    assert config.git.rotated_signing_keys == ("/x", "/y")
    assert config.prometheus.grpc_latency_buckets == (1.0, 2.5)
    assert config.tls.min_version is TLSVersion.TLS_1_3
    assert config.cgroups.cpu_quota_us == -1


def test_keys_match_whatever_their_case() -> None:
    config = load_text(EVERYTHING_IN_CAPITALS)
    assert config.socket_path == "/run/socket"
    assert config.git.signing_key == "/key"
    assert config.git.config[0].key == "a.b"
    assert config.gitlab.http_settings.user == "u"
    assert config.origin.unknown_keys == ()


def test_a_key_in_two_cases_counts_where_it_stands_last() -> None:
    assert load_text('SOCKET_PATH = "a"\nsocket_path = "b"\nSocket_Path = "c"').socket_path == "c"


def test_a_table_in_two_cases_counts_twice() -> None:
    git = load_text('[Git]\nsigning_key = "/key"\n[git]\ncommitter_name = "x"').git
    assert (git.signing_key, git.committer_name) == ("/key", "x")


def test_an_empty_header_with_the_name_of_a_value_is_ignored() -> None:
    assert load_text("[socket_path]\n").socket_path == ""


def test_windows_line_ends_are_line_ends() -> None:
    assert load_text(b'socket_path = "a"\r\nlisten_addr = "b"\r\n').listen_addr == "b"


def test_unknown_keys_are_listed_with_their_path() -> None:
    config = load_text(
        'sokcet_path = "x"\n[git]\ncolour = 1\n[[storage]]\nname = "a"\n'
        '[[storage]]\nname = "b"\nweight = 2\n[nonsense.deep]\nx = 1\n[concurrency-limits]\n'
        '[[concurrency]]\nmax_queue_time = "1s"\n'
    )
    assert config.origin.unknown_keys == (
        "sokcet_path",
        "git.colour",
        "storage.[1].weight",
        "nonsense",
        "concurrency-limits",
        "concurrency.[0].max_queue_time",
    )
    assert config.origin.legacy_keys == ()


def test_keys_that_gitaly_gave_up_are_listed_apart() -> None:
    config = load_text(
        'internal_socket_dir = "/x"\n'
        "[gitaly-ruby]\nmax_rss = 1\nnum_workers = 2\n"
        '[[rate_limiting]]\nrpc = "x"\n'
        '[logging]\ndir = "/x"\nruby_sentry_dsn = "x"\n'
        "[git]\nuse_bundled_binaries = true\nignore_gitconfig = true\n"
        "[gitlab.http-settings]\nself_signed_cert = true\n"
        "[auth]\nunenforced = true\n"
        '[backup]\nlayout = "pointer"\nenable_trailing_checksum = true\n'
    )
    assert config.origin.unknown_keys == ()
    assert sorted(config.origin.legacy_keys) == [
        "auth.unenforced",
        "backup.enable_trailing_checksum",
        "backup.layout",
        "git.ignore_gitconfig",
        "git.use_bundled_binaries",
        "gitaly-ruby",
        "gitlab.http-settings.self_signed_cert",
        "internal_socket_dir",
        "logging.dir",
        "logging.ruby_sentry_dsn",
        "rate_limiting",
    ]


def test_what_was_given_is_known_beside_the_values() -> None:
    origin = load_text("[daily_maintenance]\nstart_hour = 0\n[git]\n").origin
    assert origin.gives("daily_maintenance.start_hour")
    assert origin.gives("daily_maintenance")
    assert not origin.gives("git")
    assert not origin.gives("daily")


@pytest.mark.parametrize(
    ("config", "address"),
    [
        (Config(socket_path="/s", listen_addr="a:1", tls_listen_addr="b:2"), "unix:/s"),
        (Config(listen_addr="a:1", tls_listen_addr="b:2"), "tcp://a:1"),
        (Config(tls_listen_addr="b:2"), "tls://b:2"),
    ],
)
def test_a_client_prefers_the_socket_then_tcp_then_tls(config: Config, address: str) -> None:
    assert config.client_address() == address


def test_a_node_that_listens_nowhere_has_no_address() -> None:
    with pytest.raises(ConfigError, match=r"^no address configured$"):
        Config().client_address()


def test_secrets_are_not_shown_when_a_configuration_is_printed() -> None:
    config = load_text(
        '[auth]\ntoken = "hush1"\n[tls]\nkey = "hush2"\n'
        '[gitlab]\nsecret = "hush3"\n[gitlab.http-settings]\npassword = "hush4"\n'
    )
    assert "hush" not in repr(config)
