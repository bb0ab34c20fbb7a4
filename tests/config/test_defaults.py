import os
from datetime import timedelta
from pathlib import Path

import pytest

from gitaly.config import Config, TLSVersion, load_text
from gitaly.config.defaults import absolute, clean

STORAGES = '[[storage]]\nname = "a"\npath = "/srv//git/"\n[[storage]]\nname = "b"\npath = ""\n'


def test_an_empty_file_gives_the_defaults() -> None:
    config = load_text("")
    assert config.graceful_restart_timeout == timedelta(minutes=1)
    assert config.git.catfile_cache_size == 100
    assert (config.logging.format, config.logging.level) == ("text", "info")
    assert config.prometheus.scrape_timeout == timedelta(seconds=10)
    assert config.prometheus.grpc_latency_buckets == (
        *(0.001, 0.005, 0.025, 0.1, 0.5),
        *(1.0, 10.0, 30.0, 60.0, 300.0, 1500.0),
    )
    assert config.tls.min_version is TLSVersion.TLS_1_2
    assert config.gitlab.http_settings.read_timeout == 300
    assert config.gitlab.secret_file == ".gitlab_shell_secret"
    assert config.pack_objects_limiting.max_concurrency == 200
    assert config.pack_objects_limiting.max_queue_size == 200
    assert config.pack_objects_cache.min_occurrences == 1
    assert config.pack_objects_cache.backpressure is True
    assert config.archive_cache.min_occurrences == 0
    assert config.archive_cache.backpressure is False
    assert config.cgroups.mountpoint == "/sys/fs/cgroup"
    assert config.cgroups.hierarchy_root == "gitaly"
    assert config.backup.wal_backup_worker_count == 1
    assert config.timeout.upload_pack_negotiation == timedelta(minutes=10)
    assert config.timeout.upload_archive_negotiation == timedelta(minutes=1)
    assert config.transactions.max_inactive_partitions == 100
    assert (config.bin_dir, config.runtime_dir, config.hooks.custom_hooks_dir) == ("", "", "")
    assert (config.raft.rtt_milliseconds, config.pack_objects_cache.dir) == (0, "")


def test_an_explicit_zero_overrides_what_was_filled_in_before_the_file_was_read() -> None:
    config = load_text(
        "[prometheus]\nscrape_timeout = 0\ngrpc_latency_buckets = []\n"
        "[pack_objects_cache]\nmin_occurrences = 0\nbackpressure = false\n"
        "[pack_objects_limiting]\nmax_concurrency = 0\n"
    )
    assert config.prometheus.scrape_timeout == timedelta(0)
    assert config.prometheus.grpc_latency_buckets == ()
    assert config.pack_objects_cache.min_occurrences == 0
    assert config.pack_objects_cache.backpressure is False
    assert config.pack_objects_limiting.max_concurrency == 0


def test_an_explicit_zero_means_the_default_for_what_is_filled_in_afterwards() -> None:
    config = load_text(
        "graceful_restart_timeout = 0\n[git]\ncatfile_cache_size = -1\n"
        '[timeout]\nupload_pack_negotiation = 0\nupload_archive_negotiation = "0s"\n'
        "[transactions]\nmax_inactive_partitions = 0\n"
    )
    assert config.graceful_restart_timeout == timedelta(minutes=1)
    assert config.git.catfile_cache_size == 100
    assert config.timeout.upload_pack_negotiation == timedelta(minutes=10)
    assert config.timeout.upload_archive_negotiation == timedelta(minutes=1)
    assert config.transactions.max_inactive_partitions == 100


def test_the_paths_of_storages_are_cleaned_but_not_made_absolute() -> None:
    config = load_text(STORAGES + '[[storage]]\nname = "c"\npath = "x/./y/../z/"\n')
    assert [storage.path for storage in config.storages] == ["/srv/git", ".", "x/z"]


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("", "."), ("//a//b/", "/a/b"), ("/..", "/"), ("a/..", "."), ("/", "/"), ("../a", "../a")],
)
def test_a_path_is_cleaned_without_looking_at_the_disk(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


def test_the_directories_of_the_node_are_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_text('bin_dir = "bin"\nruntime_dir = "./run/"')
    assert config.bin_dir == f"{os.getcwd()}/bin"
    assert config.runtime_dir == f"{os.getcwd()}/run"
    assert absolute("") == ""


def test_an_enabled_cache_lives_in_the_first_storage() -> None:
    config = load_text(
        STORAGES + "[pack_objects_cache]\nenabled = true\n[archive_cache]\nenabled = true\n"
    )
    assert config.pack_objects_cache.dir == "/srv/git/+gitaly/PackObjectsCache"
    assert config.archive_cache.dir == "/srv/git/+gitaly/ArchiveCache"
    assert config.pack_objects_cache.max_age == timedelta(minutes=5)
    assert config.archive_cache.max_age == timedelta(minutes=5)


def test_a_cache_that_is_off_gets_no_directory() -> None:
    config = load_text(STORAGES + "[pack_objects_cache]\nenabled = false\n")
    assert (config.pack_objects_cache.dir, config.pack_objects_cache.max_age) == ("", timedelta(0))


def test_two_defaults_come_from_gitlab_shell() -> None:
    config = load_text('[gitlab-shell]\ndir = "/opt/shell/"')
    assert config.gitlab.secret_file == "/opt/shell/.gitlab_shell_secret"
    assert config.hooks.custom_hooks_dir == "/opt/shell/hooks"


def test_with_a_secret_there_is_no_secret_file() -> None:
    assert load_text('[gitlab]\nsecret = "x"').gitlab.secret_file == ""


def test_the_maintenance_window_is_at_noon_for_all_storages() -> None:
    window = load_text(STORAGES).daily_maintenance
    assert (window.start_hour, window.start_minute) == (12, 0)
    assert window.duration == timedelta(minutes=10)
    assert window.storages == ("a", "b")
    assert not window.is_disabled


@pytest.mark.parametrize(
    "keys", ["start_hour = 3", 'duration = "1h"', "disabled = true", "storages = []"]
)
def test_any_key_of_the_maintenance_window_switches_its_defaults_off(keys: str) -> None:
    window = load_text(f"{STORAGES}[daily_maintenance]\n{keys}").daily_maintenance
    assert window.storages == ()
    assert window.is_disabled


@pytest.mark.parametrize("keys", ["", "start_hour = 0", 'duration = "0s"', "disabled = false"])
def test_a_maintenance_window_of_zeros_is_none_at_all(keys: str) -> None:
    window = load_text(f"{STORAGES}[daily_maintenance]\n{keys}").daily_maintenance
    assert (window.start_hour, window.storages) == (12, ("a", "b"))


def test_a_concurrency_limit_has_a_queue_of_500_but_not_for_unauthenticated_calls() -> None:
    config = load_text('[[concurrency]]\nrpc = "/a/B"\nunauthenticated = {max_per_repo = 1}')
    assert config.concurrency[0].max_queue_size == 500
    assert config.concurrency[0].unauthenticated.max_queue_size == 0


def test_the_queue_of_pack_objects_follows_its_former_name() -> None:
    config = load_text("[pack_objects_limiting]\nmax_queue_length = 7")
    assert config.pack_objects_limiting.max_queue_size == 7


def test_of_both_names_of_the_queue_the_new_one_wins() -> None:
    config = load_text("[pack_objects_limiting]\nmax_queue_length = 7\nmax_queue_size = 9")
    assert config.pack_objects_limiting.max_queue_size == 9


def test_the_new_name_of_a_concurrency_limit_wins() -> None:
    config = load_text(
        "[[concurrency]]\nmax_per_repo = 3\n[[concurrency]]\nmax_per_repo = 3\n"
        "max_concurrency = 5\n"
    )
    assert [limits.concurrency for limits in config.concurrency] == [3, 5]


def test_the_former_spellings_of_cgroups_are_honoured() -> None:
    cgroups = load_text(
        "[cgroups]\ncount = 10\n[cgroups.memory]\nenabled = true\nlimit = 1024\n"
        "[cgroups.cpu]\nenabled = true\nshares = 512\n"
    ).cgroups.repositories
    assert (cgroups.count, cgroups.memory_bytes, cgroups.cpu_shares) == (10, 1024, 512)
    assert cgroups.max_cgroups_per_repo == 1


def test_former_spellings_of_cgroups_need_their_switch() -> None:
    cgroups = load_text(
        "[cgroups]\ncount = 10\n[cgroups.memory]\nlimit = 1024\n[cgroups.cpu]\nshares = 512\n"
    ).cgroups.repositories
    assert (cgroups.count, cgroups.memory_bytes, cgroups.cpu_shares) == (10, 0, 0)


def test_former_spellings_of_cgroups_do_not_count_beside_the_new_count() -> None:
    cgroups = load_text(
        "[cgroups]\ncount = 10\n[cgroups.memory]\nenabled = true\nlimit = 1024\n"
        "[cgroups.repositories]\ncount = 2\n"
    ).cgroups.repositories
    assert (cgroups.count, cgroups.memory_bytes) == (2, 0)


def pressure(resource: str) -> Config:
    return load_text(f"[adaptive_limiting.psi_pressure.{resource}]\nenabled = true\n")


def test_an_enabled_pressure_signal_has_thresholds() -> None:
    memory = pressure("memory").adaptive_limiting.psi_pressure.memory
    cpu = pressure("cpu").adaptive_limiting.psi_pressure.cpu
    assert (memory.warning_threshold, memory.backoff_threshold, memory.critical_threshold) == (
        *(10.0, 20.0, 40.0),
    )
    assert (cpu.warning_threshold, cpu.backoff_threshold, cpu.critical_threshold) == (
        *(20.0, 25.0, 50.0),
    )
    assert (cpu.sustain_duration_seconds, cpu.fast_fall_ratio) == (30, 0.85)


def test_a_pressure_signal_that_is_off_has_none() -> None:
    assert pressure("memory").adaptive_limiting.psi_pressure.io.warning_threshold == 0.0


def test_an_enabled_raft_has_timings_and_a_directory() -> None:
    raft = load_text(STORAGES + "[raft]\nenabled = true").raft
    assert (raft.rtt_milliseconds, raft.election_rtt, raft.heartbeat_rtt) == (200, 20, 2)
    assert raft.proposal_conf_change_timeout == 5000
    assert raft.snapshot_dir == "/srv/git/+gitaly/raft/snapshots"
