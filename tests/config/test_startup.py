"""What keeps a node from starting, and what does not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gitaly.config import (
    ConfigError,
    PackObjectsCacheConfig,
    load_text,
    problems,
    require_startable,
)

NODE = 'socket_path = "/s"\n[[storage]]\nname = "default"\npath = "/"\n'


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        require_startable(load_text(text))
    return str(raised.value)


def test_a_socket_and_a_storage_are_enough() -> None:
    require_startable(load_text(NODE))


def test_a_node_may_start_with_problems_that_are_not_fatal() -> None:
    config = load_text(f'graceful_restart_timeout = "-1s"\n{NODE}[gitlab]\nurl = ":x"')
    assert len(problems(config)) > 2
    require_startable(config)


def test_a_node_must_listen() -> None:
    assert refusal("") == (
        "at least one of socket_path, listen_addr or tls_listen_addr must be set"
    )


def test_a_node_must_have_a_storage() -> None:
    assert refusal('socket_path = "/s"') == "not set"


def test_the_problems_of_storages_are_told_line_by_line(tmp_path: Path) -> None:
    os.makedirs(f"{tmp_path}/a/b")
    text = (
        f'[[storage]]\nname = ""\npath = "{tmp_path}/a"\n'
        f'[[storage]]\nname = "x"\npath = "{tmp_path}/a/b"\n'
        f'[[storage]]\nname = "x"\npath = "{tmp_path}"\n'
    )
    assert refusal(f'socket_path = "/s"\n{text}') == (
        "[0].name: not set\n"
        f'[1].path: can\'t nest: "{tmp_path}/a/b" and "{tmp_path}/a"\n'
        f'[2].path: can\'t nest: "{tmp_path}" and "{tmp_path}/a"\n'
        '[2].name: not unique: "x"\n'
        f'[2].path: can\'t nest: "{tmp_path}" and "{tmp_path}/a/b"'
    )


def test_the_first_group_of_problems_is_the_only_one_told() -> None:
    assert refusal('[[git.config]]\nkey = "x"') == (
        "at least one of socket_path, listen_addr or tls_listen_addr must be set"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[git.config]]\nkey = "bad"',
            'invalid configuration key "bad": key: key "bad" must contain at least one section',
        ),
        ('[[git.config]]\nkey = ""', 'invalid configuration key "": key: not set'),
        (
            "[daily_maintenance]\nstart_hour = 24",
            "daily maintenance specified hour '24' outside range (0-23)",
        ),
        (
            "[daily_maintenance]\nstart_minute = 60\ndisabled = true",
            "daily maintenance specified minute '60' outside range (0-59)",
        ),
        (
            '[daily_maintenance]\nduration = "86401s"',
            "daily maintenance specified duration 24h0m1s must be less than 24 hours",
        ),
        (
            '[daily_maintenance]\nstorages = ["x"]',
            'daily maintenance specified storage "x" does not exist in configuration',
        ),
        (
            "[cgroups]\nmemory_bytes = 1\n[cgroups.repositories]\nmemory_bytes = 2",
            "cgroups.repositories: memory limit cannot exceed parent",
        ),
        (
            "[cgroups]\ncpu_shares = 1\n[cgroups.repositories]\ncpu_shares = 2",
            "cgroups.repositories: cpu shares cannot exceed parent",
        ),
        (
            "[cgroups]\ncpu_quota_us = 1\n[cgroups.repositories]\ncpu_quota_us = 2",
            "cgroups.repositories: cpu quota cannot exceed parent",
        ),
        (
            '[pack_objects_cache]\nenabled = true\nmax_age = "-1s"',
            "pack_objects_cache.max_age cannot be negative",
        ),
        (
            '[pack_objects_cache]\nenabled = true\ndir = "x"',
            "pack_objects_cache: storage directory must be absolute path",
        ),
        (
            '[pack_objects_cache]\nenabled = true\ndir = "/"',
            "pack_objects_cache: the specified cache directory "
            "cannot be the same or a parent of the storage path",
        ),
    ],
)
def test_a_fatal_problem_has_the_text_of_the_original(text: str, message: str) -> None:
    assert refusal(f"{NODE}{text}") == message


@pytest.mark.parametrize(
    "text",
    [
        '[daily_maintenance]\nduration = "24h"',
        '[daily_maintenance]\nduration = "-1h"',
        "[cgroups.repositories]\nmemory_bytes = 2\ncpu_shares = 2\ncpu_quota_us = 2",
        "[cgroups]\nmemory_bytes = 2\n[cgroups.repositories]\nmemory_bytes = 2",
        '[pack_objects_cache]\nenabled = false\ndir = "x"\nmax_age = "-1s"',
        '[pack_objects_cache]\nenabled = true\ndir = "/cache"',
    ],
)
def test_what_is_at_its_limit_or_switched_off_is_not_fatal(text: str) -> None:
    require_startable(load_text(f"{NODE}{text}"))


def test_a_cache_directory_is_compared_letter_by_letter(tmp_path: Path) -> None:
    (tmp_path / "git2").mkdir()
    text = NODE.replace('path = "/"', f'path = "{tmp_path}/git2"')
    assert refusal(f'{text}[pack_objects_cache]\nenabled = true\ndir = "{tmp_path}/git"') == (
        "pack_objects_cache: the specified cache directory "
        "cannot be the same or a parent of the storage path"
    )


def test_two_tokens_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    assert refusal(f'{NODE}[auth]\ntoken = "x"\ntoken_file = "{tmp_path}/token"') == (
        "token.token_file: token and token_file are mutually exclusive"
    )


@pytest.mark.parametrize("key", ["bin_dir", "runtime_dir"])
def test_a_directory_of_the_node_must_exist_if_it_is_given(tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("")
    assert refusal(f'{key} = "{tmp_path}/none"\n{NODE}') == (
        f'{key}: path doesn\'t exist: "{tmp_path}/none"'
    )
    assert refusal(f'{key} = "{tmp_path}/file"\n{NODE}') == (
        f'{key}: not a directory: "{tmp_path}/file"'
    )
    assert refusal(f'{key} = "{tmp_path}/file/x"\n{NODE}') == (
        f"{key}: stat {tmp_path}/file/x: not a directory"
    )
    require_startable(load_text(f'{key} = "{tmp_path}"\n{NODE}'))


def test_a_cache_without_a_directory_has_no_place() -> None:
    # Not from a file: without storages the node is refused earlier, with them there is a default.
    config = replace(load_text(NODE), pack_objects_cache=PackObjectsCacheConfig(enabled=True))
    with pytest.raises(ConfigError) as raised:
        require_startable(config)
    assert str(raised.value) == (
        "pack_objects_cache: cannot pick default cache directory: no storages"
    )
