"""All rules that `configuration validate` knows, table by table, each with its key and text."""

import os
from pathlib import Path

import pytest

from gitaly.config import Config, PackObjectsLimitingConfig, load_text, problems
from gitaly.config.extensions import RaftConfig, TransactionsConfig
from tests.config.good import told


def test_a_good_configuration_has_no_problem(good: str) -> None:
    assert told(good) == []


def test_problems_come_in_the_order_of_the_original(tmp_path: Path) -> None:
    text = (
        'bin_dir = "/none"\nruntime_dir = "/none"\ngraceful_restart_timeout = "-1s"\n'
        '[offloading]\nenabled = true\ncache_root = "x"\n'
        "[raft]\nenabled = true\n"
        '[backup]\ngo_cloud_url = ":x"\n'
        "[pack_objects_limiting]\nmax_concurrency = -1\n"
        '[pack_objects_cache]\nenabled = true\ndir = "x"\n'
        "[[concurrency]]\nmax_concurrency = -1\n"
        "[cgroups]\nmemory_bytes = -1\n"
        "[daily_maintenance]\nstart_hour = 24\n"
        '[gitlab-shell]\ndir = "/none"\n'
        "[gitlab]\n"
        '[tls]\nkey = "x"\n'
        '[auth]\ntoken = "x"\ntoken_file = "<token>"\n'
        '[prometheus]\nscrape_timeout = "-1s"\n'
        '[[git.config]]\nkey = "x"\n'
    )
    token = tmp_path / "token"
    token.write_text("t")
    config = load_text(text.replace("<token>", str(token)))
    assert [problem.key for problem in problems(config)] == [
        (),
        ("bin_dir",),
        ("runtime_dir",),
        ("git", "config", "key"),
        ("storage",),
        ("prometheus", "scrape_timeout"),
        ("auth", "token", "token_file"),
        ("tls", "certificate_path"),
        ("gitlab", "url"),
        ("gitlab", "secret_file"),
        ("gitlab-shell", "dir"),
        ("graceful_restart_timeout",),
        ("daily_maintenance", "start_hour"),
        ("cgroups", "repositories", "memory_bytes"),
        ("concurrency", "[0]", "max_concurrency"),
        ("pack_objects_cache", "dir"),
        ("pack_objects_limiting", "max_concurrency"),
        ("backup", "go_cloud_url"),
        ("raft", "enabled"),
        ("raft", "cluster_id"),
        ("raft", "snapshot_dir"),
        ("raft",),
        ("offloading", "cache_root"),
        ("offloading",),
    ]


def test_a_name_of_the_status_page_has_no_port(good: str) -> None:
    hosts = '["gitaly1", "a-b.internal", "gitaly1:9236", "", "*"]'
    allowed = 'allowed: "gitaly1.internal", without a port'
    assert told(f"{good}[prometheus]\nstatus_page_hosts = {hosts}") == [
        f'prometheus.status_page_hosts.[2]: "gitaly1:9236" is not a name; {allowed}',
        f'prometheus.status_page_hosts.[3]: "" is not a name; {allowed}',
        f'prometheus.status_page_hosts.[4]: "*" is not a name; {allowed}',
    ]


@pytest.mark.parametrize("key", ["bin_dir", "runtime_dir"])
def test_a_directory_of_the_node_must_be_one(good: str, tmp_path: Path, key: str) -> None:
    rest = good.replace("bin_dir", "ignored") if key == "bin_dir" else good
    assert told(f'{key} = "/none"\n{rest}') == [f'{key}: doesn\'t exist: "/none"']
    assert told(f'{key} = "{tmp_path}/secret"\n{rest}') == [
        f'{key}: not a dir: "{tmp_path}/secret"'
    ]
    assert told(f'{key} = "{tmp_path}/secret/x"\n{rest}') == [
        f"{key}: stat {tmp_path}/secret/x: not a directory"
    ]


def test_a_path_with_a_nul_is_an_invalid_argument() -> None:
    assert "gitlab-shell.dir: stat a\0b: invalid argument" in told(
        '[gitlab-shell]\ndir = "a\\u0000b"'
    )


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "not set"),
        ("a.b=c", 'key "a.b=c" cannot contain "="'),
        ("bad", 'key "bad" must contain at least one section'),
        (".a.b", 'key ".a.b" must not start or end with a dot'),
        ("a.b.", 'key "a.b." must not start or end with a dot'),
        ("a b.c", 'key "a b.c" failed regexp validation'),
        ("a.b\n", 'key "a.b\\n" failed regexp validation'),
    ],
)
def test_a_git_setting_needs_a_key_that_git_understands(good: str, key: str, text: str) -> None:
    config = load_text(f'{good}[[git.config]]\nkey = """{key}"""')
    assert [str(problem) for problem in problems(config)] == [f"git.config.key: {text}"]


@pytest.mark.parametrize("key", ["core.gc", "http.http://example.com:80/*_x-y.proxy", "a.b.c"])
def test_most_keys_of_git_are_good(good: str, key: str) -> None:
    assert told(f'{good}[[git.config]]\nkey = "{key}"') == []


def storages(good: str, *tables: tuple[str, str]) -> list[str]:
    head, _, rest = good.partition("[[storage]]")
    gitlab = rest[rest.index("[gitlab]") :]
    text = "".join(f'[[storage]]\nname = "{name}"\npath = "{path}"\n' for name, path in tables)
    return told(head + text + gitlab)


def test_there_must_be_a_storage(good: str) -> None:
    assert storages(good) == ["storage: not set"]


def test_a_storage_needs_a_name_and_a_directory(good: str, tmp_path: Path) -> None:
    assert storages(good, ("", f"{tmp_path}/none"), ("x", f"{tmp_path}/secret")) == [
        "storage.[0].name: not set",
        f'storage.[0].path: doesn\'t exist: "{tmp_path}/none"',
        f'storage.[1].path: not a dir: "{tmp_path}/secret"',
    ]


def test_names_and_paths_of_storages_are_unique(good: str, tmp_path: Path) -> None:
    path = f"{tmp_path}/repositories"
    assert storages(good, ("a", path), ("a", path + "/"), ("a", path)) == [
        'storage.[1].name: not unique: "a"',
        f'storage.[1].path: not unique: "{path}"',
        'storage.[2].name: not unique: "a"',
        f'storage.[2].path: not unique: "{path}"',
        'storage.[2].name: not unique: "a"',
        f'storage.[2].path: not unique: "{path}"',
    ]


def test_storages_must_not_nest_and_neighbours_do_not(good: str, tmp_path: Path) -> None:
    outer, neighbour = f"{tmp_path}/a", f"{tmp_path}/ab"
    inner, like_inner = f"{tmp_path}/a/x", f"{tmp_path}/ab/x"
    for path in (outer, neighbour, inner, like_inner):
        os.mkdir(path)
    assert storages(good, ("1", outer), ("2", neighbour)) == []
    assert storages(good, ("1", outer), ("2", inner)) == [
        f'storage.[1].path: can\'t nest: "{inner}" and "{outer}"'
    ]
    assert storages(good, ("1", inner), ("2", outer)) == [
        f'storage.[1].path: can\'t nest: "{outer}" and "{inner}"'
    ]
    assert storages(good, ("1", outer), ("2", like_inner)) == [
        f'storage.[1].path: can\'t nest: "{like_inner}" and "{outer}"'
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[prometheus]\nscrape_timeout = "-1s"\ngrpc_latency_buckets = [2.5, 1]',
            [
                "prometheus.scrape_timeout: not in range: -1s is not greater than or equal to 0s",
                "prometheus.grpc_latency_buckets: bad order: expected asc: [2.5 1]",
            ],
        ),
        ('[prometheus]\nscrape_timeout = "-1s"\ngrpc_latency_buckets = []', []),
        ("[prometheus]\ngrpc_latency_buckets = [1, 1, 2]", []),
        ('[auth]\ntoken = "t"', []),
        (
            "[daily_maintenance]\nstart_hour = 24\nstart_minute = 60\nduration = '25h'\n"
            'storages = ["default", "x"]',
            [
                "daily_maintenance.start_hour: not in range: 24 out of [0, 23]",
                "daily_maintenance.start_minute: not in range: 60 out of [0, 59]",
                "daily_maintenance.duration: not in range: 25h0m0s out of [0s, 24h0m0s]",
                'daily_maintenance.storages.[1]: doesn\'t exist: "x"',
            ],
        ),
        (
            '[daily_maintenance]\nduration = "-1s"',
            ["daily_maintenance.duration: not in range: -1s out of [0s, 24h0m0s]"],
        ),
        ('[daily_maintenance]\nstart_hour = 23\nstart_minute = 59\nduration = "24h"', []),
        ("[daily_maintenance]\nstart_hour = 24\ndisabled = true", []),
        (
            "[cgroups]\nmemory_bytes = -1\ncpu_quota_us = -2\n"
            "[cgroups.repositories]\ncount = 2\nmax_cgroups_per_repo = 5",
            [
                "cgroups.repositories.max_cgroups_per_repo: not in range: 5 out of [0, 2]",
                "cgroups.repositories.memory_bytes: not supported: -1",
                "cgroups.repositories.cpu_quota_us: not supported: -2",
            ],
        ),
        (
            "[cgroups]\nmemory_bytes = 10\ncpu_shares = 10\ncpu_quota_us = 10\n"
            "[cgroups.repositories]\nmemory_bytes = 11\ncpu_shares = 12\ncpu_quota_us = -1",
            [
                "cgroups.repositories.memory_bytes: not in range: 11 out of [0, 10]",
                "cgroups.repositories.cpu_shares: not in range: 12 out of [0, 10]",
                "cgroups.repositories.cpu_quota_us: not in range: -1 out of [0, 10]",
            ],
        ),
        ("[cgroups.repositories]\nmemory_bytes = 11\ncpu_shares = 12", []),
        (
            "[[concurrency]]\n[[concurrency]]\nmax_concurrency = -1\nmax_per_repo = -2\n"
            'max_queue_size = -3\nmax_queue_wait = "-4s"\nmin_limit = -5',
            [
                "concurrency.[1].max_concurrency: "
                "not in range: -1 is not greater than or equal to 0",
                "concurrency.[1].max_per_repo: not in range: -2 is not greater than or equal to 0",
                "concurrency.[1].max_queue_size: not in range: -3 is not greater than 0",
                "concurrency.[1].max_queue_wait: "
                "not in range: -4s is not greater than or equal to 0s",
            ],
        ),
        (
            "[[concurrency]]\nadaptive = true\nmin_limit = 9\ninitial_limit = 5\nmax_limit = 4",
            [
                "concurrency.[0].max_limit: not in range: 4 is not greater than or equal to 5",
                "concurrency.[0].initial_limit: not in range: 5 is not greater than or equal to 9",
            ],
        ),
        (
            "[[concurrency]]\nunauthenticated = {max_concurrency = 1}",
            [
                "concurrency.[0].unauthenticated.max_queue_size: "
                "not in range: 0 is not greater than 0"
            ],
        ),
        ("[[concurrency]]\nunauthenticated = {max_concurrency = -1}", []),
        (
            "[pack_objects_limiting]\nmax_concurrency = -1\nmax_per_repo = -2\n"
            'max_queue_wait = "-3s"\nmax_queue_size = -4\nmax_queue_length = -5\nadaptive = true',
            [
                "pack_objects_limiting.max_concurrency: "
                "not in range: -1 is not greater than or equal to 0",
                "pack_objects_limiting.max_per_repo: "
                "not in range: -2 is not greater than or equal to 0",
                "pack_objects_limiting.max_queue_wait: "
                "not in range: -3s is not greater than or equal to 0s",
                "pack_objects_limiting.max_queue_size: not in range: -4 is not greater than 0",
                "pack_objects_limiting.max_queue_length: not in range: -5 is not greater than 0",
                "pack_objects_limiting.min_limit: not in range: 0 is not greater than 0",
            ],
        ),
        (
            "[pack_objects_limiting]\nmax_queue_length = -1",
            ["pack_objects_limiting.max_queue_length: not in range: -1 is not greater than 0"],
        ),
        (
            "[pack_objects_limiting.unauthenticated]\nmax_per_repo = 1",
            [
                "pack_objects_limiting.unauthenticated.max_queue_size: "
                "not in range: 0 is not greater than 0"
            ],
        ),
        (
            '[pack_objects_cache]\nenabled = true\ndir = "x"\nmax_age = "-1s"',
            [
                'pack_objects_cache.dir: not an absolute path: "x"',
                "pack_objects_cache.max_age: not in range: -1s is not greater than or equal to 0s",
            ],
        ),
        ('[pack_objects_cache]\ndir = "x"\nmax_age = "-1s"', []),
        ('[archive_cache]\nenabled = true\ndir = "x"\nmax_age = "-1s"', []),
        ("[archive_cache]\nmax_bytes = -1", []),
        (
            "[archive_cache]\nenabled = true\nmax_bytes = -1\nmin_free_bytes = -2",
            [
                "archive_cache.max_bytes: not in range: -1 is not greater than or equal to 0",
                "archive_cache.min_free_bytes: not in range: -2 is not greater than or equal to 0",
            ],
        ),
        (
            '[backup]\ngo_cloud_url = ":a"\nwal_backup_go_cloud_url = "%zz"',
            [
                'backup.go_cloud_url: parse ":a": missing protocol scheme',
                'backup.wal_backup_go_cloud_url: parse "%zz": invalid URL escape "%zz"',
            ],
        ),
        ('[bundle_uri]\ngo_cloud_url = ":a"', []),
        (
            '[offloading]\nenabled = true\ngo_cloud_url = ":a"\ncache_root = "none"',
            [
                'offloading.go_cloud_url: parse ":a": missing protocol scheme',
                'offloading.cache_root: not an absolute path: "none"',
                'offloading: doesn\'t exist: "none"',
            ],
        ),
        ("[offloading]\nenabled = true", []),
        ('[offloading]\ngo_cloud_url = ":a"\ncache_root = "none"', []),
        (
            '[logging]\nformat = "x"\nlevel = "y"\n[adaptive_limiting]\nmemory_threshold = -1.0',
            [],
        ),
    ],
)
def test_each_table_has_its_rules(good: str, text: str, expected: list[str]) -> None:
    assert told(f"{good}{text}") == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('secret = "x"', ["gitlab.secret.secret_file: ambiguous secret configuration"]),
        ("[gitlab.http-settings]\nuser = 'u'", ["gitlab.http-settings.password: blank or empty"]),
        ("[gitlab.http-settings]\npassword = 'p'", ["gitlab.http-settings.user: blank or empty"]),
        (
            "[gitlab.http-settings]\nca_file = '/none'\nca_path = '/none'",
            [
                'gitlab.http-settings.ca_file: doesn\'t exist: "/none"',
                'gitlab.http-settings.ca_path: doesn\'t exist: "/none"',
            ],
        ),
        (
            "[gitlab.http-settings]\nca_file = '/'",
            ['gitlab.http-settings.ca_file: not a file: "/"'],
        ),
        ("[gitlab-shell]\ndir = '/none'", ['gitlab-shell.dir: doesn\'t exist: "/none"']),
        ("[gitlab-shell]\ndir = ''", []),
    ],
)
def test_the_way_to_gitlab_has_its_rules(good: str, keys: str, expected: list[str]) -> None:
    assert told(f"{good}{keys}") == expected


def test_the_url_of_gitlab_must_be_one(good: str) -> None:
    assert told(good.replace("http://localhost:3000", " ")) == ["gitlab.url: blank or empty"]
    assert told(good.replace("http://localhost:3000", ":x")) == [
        'gitlab.url: parse ":x": missing protocol scheme'
    ]


def raft(config: RaftConfig, *, transactions: bool = True) -> list[str]:
    whole = Config(raft=config, transactions=TransactionsConfig(enabled=transactions))
    return [str(p) for p in problems(whole) if p.key[:1] == ("raft",)]


def test_raft_needs_transactions_and_much_else() -> None:
    assert raft(RaftConfig(enabled=True, snapshot_dir="none"), transactions=False) == [
        "raft.enabled: transactions must be enabled to enable Raft",
        "raft.cluster_id: not set",
        "raft.rtt_millisecond: not in range: 0 is not greater than 0",
        "raft.election_rtt: not in range: 0 is not greater than 0",
        "raft.heartbeat_rtt: not in range: 0 is not greater than 0",
        'raft.snapshot_dir: not an absolute path: "none"',
        'raft: doesn\'t exist: "none"',
    ]


def test_a_raft_that_is_off_may_say_anything() -> None:
    assert raft(RaftConfig(cluster_id="x"), transactions=False) == []


def cluster(text: str) -> list[str]:
    config = RaftConfig(
        enabled=True,
        cluster_id=text,
        rtt_milliseconds=1,
        election_rtt=1,
        heartbeat_rtt=1,
        snapshot_dir="/",
    )
    return raft(config)


@pytest.mark.parametrize(
    "text",
    [
        "4f04a0e2-0db8-4bfa-b791-01b5b459a093",
        "4F04A0E20DB84BFAB79101B5B459A093",
        "{4f04a0e2-0db8-4bfa-b791-01b5b459a093}",
        "urn:uuid:4f04a0e2-0db8-4bfa-b791-01b5b459a093",
    ],
)
def test_a_cluster_is_named_by_a_uuid(text: str) -> None:
    assert cluster(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "invalid UUID length: 1"),
        ("4f04a0e2-0db8-4bfa-b791-01b5b459a09g", "invalid UUID format"),
        ("urn:oops:4f04a0e2-0db8-4bfa-b791-01b5b459a093", 'invalid urn prefix: "urn:oops:"'),
    ],
)
def test_a_bad_uuid_is_told_in_its_librarys_words(text: str, problem: str) -> None:
    assert cluster(text) == [f"raft.cluster_id: invalid UUID format for ClusterID: {problem}"]


def test_a_queue_without_either_name_cannot_come_from_a_file_but_is_a_problem() -> None:
    config = Config(pack_objects_limiting=PackObjectsLimitingConfig())
    assert (
        "pack_objects_limiting.max_queue_size: "
        "at least one of max_queue_size or max_queue_length must be set"
    ) in [str(problem) for problem in problems(config)]
