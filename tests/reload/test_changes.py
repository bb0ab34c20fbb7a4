"""What is different between two configurations, and what a running node can have of the other."""

import pytest

from gitaly.config import Config, load_text
from gitaly.reload.changes import attainable, changed_keys, is_among, matching

RPC = '[[concurrency]]\nrpc = "/gitaly.RefService/ListRefs"\nmax_concurrency = '


def changed(old: str, new: str) -> list[str]:
    return list(changed_keys(load_text(old), load_text(new)))


def had(old: str, new: str, *patterns: str) -> Config:
    return attainable(load_text(old), load_text(new), matching(patterns))


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("", "", []),
        ('[auth]\ntoken = "a"', '[auth]\ntoken = "b"', ["auth.token"]),
        (f"{RPC}1", f"{RPC}2", ["concurrency[0].max_concurrency"]),
        (f"{RPC}1", f"{RPC}1\n{RPC}2", ["concurrency[]"]),
        ('[gitlab]\nurl = "a"', '[gitlab]\nurl = "b"', ["gitlab.url"]),
        (
            "[gitlab.http-settings]\nread_timeout = 1",
            "[gitlab.http-settings]\nread_timeout = 2",
            ["gitlab.http-settings.read_timeout"],
        ),
        ("", '[adaptive_limiting]\nmemory_threshold = 0.1\n[logging]\nlevel = "info"', None),
    ],
)
def test_what_differs_is_named_by_its_key(old: str, new: str, keys: list[str] | None) -> None:
    assert changed(old, new) == (["adaptive_limiting.memory_threshold"] if keys is None else keys)


def test_the_content_of_a_token_file_is_no_key(tmp_path: object) -> None:
    path = f"{tmp_path}/token"
    text = f'[auth]\ntoken_file = "{path}"'
    with open(path, "w") as file:
        file.write("a")
    one = load_text(text)
    with open(path, "w") as file:
        file.write("b")
    other = load_text(text)
    assert list(changed_keys(one, other)) == []
    assert attainable(one, other, matching(["auth.*"])).auth.secret == "b"


def test_only_the_keys_that_somebody_takes_are_had() -> None:
    old = 'socket_path = "a"\n[logging]\nlevel = "info"\nformat = "json"'
    new = 'socket_path = "b"\n[logging]\nlevel = "debug"\nformat = "text"'
    found = had(old, new, "logging.level")
    assert (found.socket_path, found.logging.level, found.logging.format) == ("a", "debug", "json")


def test_an_array_of_tables_is_had_as_a_whole_or_not_at_all() -> None:
    assert len(had(f"{RPC}1", f"{RPC}1\n{RPC}2", "concurrency[].*").concurrency) == 2
    assert len(had(f"{RPC}1", f"{RPC}1\n{RPC}2", "concurrency[].rpc").concurrency) == 1


@pytest.mark.parametrize("name", ["pack_objects_cache", "archive_cache"])
def test_a_cache_that_is_switched_off_keeps_its_age_until_the_restart(name: str) -> None:
    """Where it is off the age has no default, and 0 would mean that everything is too old."""
    on = f"[{name}]\nenabled = true\n"
    found = had(on, f"[{name}]\nenabled = false\n", f"{name}.max_age")
    assert getattr(found, name) == getattr(load_text(on), name)


def test_a_node_that_gets_a_gitlab_stays_standalone_until_the_restart() -> None:
    found = had("", '[gitlab]\nurl = "http://localhost"', "gitlab.*")
    assert found.is_standalone
    assert found.gitlab == load_text("").gitlab


def test_a_node_that_loses_its_gitlab_keeps_it_until_the_restart() -> None:
    found = had('[gitlab]\nurl = "http://localhost"', "", "gitlab.*")
    assert not found.is_standalone
    assert found.gitlab.url == "http://localhost"


def test_whether_a_table_was_written_follows_its_values() -> None:
    text = "[pack_objects_limiting]\nmax_concurrency = 3"
    assert had("", text, "pack_objects_limiting.*").origin.gives("pack_objects_limiting")
    assert not had("", text, "auth.*").origin.gives("pack_objects_limiting")


@pytest.mark.parametrize(
    ("key", "is_taken"),
    [
        ("concurrency[3].max_concurrency", True),
        ("concurrency[0].unauthenticated.min_limit", True),
        ("concurrency[]", True),
        ("storage[]", False),
        ("storage[0].path", False),
        ("logging.level", True),
        ("logging.format", False),
    ],
)
def test_a_change_belongs_to_those_who_take_its_key(key: str, is_taken: bool) -> None:
    assert is_among(key, matching(["concurrency[].*", "logging.level"])) == is_taken
