import pytest

from gitaly.config import inactive_features, load_text

NODE = 'socket_path = "/s"\n[[storage]]\nname = "default"\npath = "/"\n'


def test_a_plain_node_leaves_nothing_out() -> None:
    assert inactive_features(load_text(NODE)) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[backup]\ngo_cloud_url = "gs://x"', "backup"),
        ('[bundle_uri]\ngo_cloud_url = "gs://x"', "bundle_uri"),
        ('[daily_maintenance]\nduration = "1h"\nstorages = ["default"]', "daily_maintenance"),
        ('[git]\ncommitter_email = "a@example.com"', "git.committer_name"),
        ("[hooks]\npackobjects_hook_max_proc = 1", "hooks.packobjects_hook_max_proc"),
        ('[logging]\nsentry_dsn = "https://x"', "logging.sentry_dsn"),
        ("[offloading]\nenabled = true", "offloading"),
        ('[pool_metadata]\ndatabase_path = "/x"', "pool_metadata"),
        ("[raft]\nenabled = true", "raft"),
        ('[gitlab]\nurl = "http://x"\n[[standalone.rule]]\nread_only = true', "standalone"),
        ("[transactions]\nenabled = true", "transactions"),
    ],
)
def test_a_feature_that_is_configured_but_not_active_is_named(text: str, name: str) -> None:
    assert inactive_features(load_text(NODE + text)) == [name]


def test_a_single_key_can_be_named_too() -> None:
    assert inactive_features(load_text(f"use_libp2p_yamux = true\n{NODE}")) == ["use_libp2p_yamux"]


@pytest.mark.parametrize(
    "text",
    [
        "[daily_maintenance]\ndisabled = true",
        "[archive_cache]\nenabled = true\nmin_occurrences = 5",
        "[raft]\nenabled = false",
        '[cgroups]\nmountpoint = "/sys/fs/cgroup"',
        "[git]\n[hooks]\n[backup]\n[pack_objects_limiting]\n",
    ],
)
def test_a_feature_that_is_switched_off_is_not_missed(text: str) -> None:
    assert inactive_features(load_text(NODE + text)) == []
