"""URLs of repositories at a node."""

import pytest

from gitaly.client.remote_url import RemoteUrl, parse_remote_url
from gitaly.errors import InvalidRequest


def test_a_url_names_a_node_a_storage_and_a_repository() -> None:
    assert parse_remote_url("gitaly://node.example.com:1234/default/group/demo.git") == RemoteUrl(
        address="tcp://node.example.com:1234",
        host="node.example.com:1234",
        storage_name="default",
        relative_path="group/demo.git",
        shown="gitaly://node.example.com:1234/default/group/demo.git",
    )


def test_a_url_may_name_a_socket() -> None:
    assert parse_remote_url("gitaly+unix:///run/node.sock:/default/demo.git") == RemoteUrl(
        address="unix:/run/node.sock",
        host="localhost",
        socket="/run/node.sock",
        storage_name="default",
        relative_path="demo.git",
        shown="gitaly+unix:///run/node.sock:/default/demo.git",
    )


@pytest.mark.parametrize(
    ("start", "address"),
    [
        ("gitaly://node", "tcp://node:8075"),
        ("tcp://node", "tcp://node:8075"),  # git has taken gitaly:: away
        ("gitaly+tls://node", "tls://node:9999"),
        ("tls://node", "tls://node:9999"),
        ("gitaly://node:1", "tcp://node:1"),
        ("tcp://node:1", "tcp://node:1"),
        ("gitaly+tls://node:1", "tls://node:1"),
        ("tls://node:1", "tls://node:1"),
        ("gitaly://node:", "tcp://node:8075"),
        ("gitaly://[::1]", "tcp://[::1]:8075"),
        ("gitaly://[::1]:1", "tcp://[::1]:1"),
        ("tls://[2001:db8::1]", "tls://[2001:db8::1]:9999"),
        ("gitaly+unix:///run/s:", "unix:/run/s"),
        ("unix:///run/s:", "unix:/run/s"),
        ("unix:///with%20space/s:", "unix:/with space/s"),
    ],
)
def test_every_form_of_url_has_the_address_of_its_node(start: str, address: str) -> None:
    url = parse_remote_url(f"{start}/default/demo.git")
    assert (url.address, url.storage_name, url.relative_path) == (address, "default", "demo.git")


@pytest.mark.parametrize("start", ["gitaly://node", "gitaly+unix:///run/s:"])
@pytest.mark.parametrize(
    ("written", "storage", "path"),
    [
        ("default/a b.git", "default", "a b.git"),
        ("default/a%20b.git", "default", "a b.git"),
        ("my%20storage/a.git", "my storage", "a.git"),
        ("default/%40hashed/aa/bb/aabb.git", "default", "@hashed/aa/bb/aabb.git"),
        ("default/@hashed/aa/bb/aabb.git", "default", "@hashed/aa/bb/aabb.git"),
        ("default/a%2Fb.git", "default", "a/b.git"),
        ("default/a%25b.git", "default", "a%b.git"),
        ("default/a#b?c.git", "default", "a#b?c.git"),
        ("default/a\tb.git", "default", "a\tb.git"),
        ("default/gr\u00fcn.git", "default", "gr\u00fcn.git"),
        ("default/gr%C3%BCn.git", "default", "gr\u00fcn.git"),
        ("default/a:/b.git", "default", "a:/b.git"),
    ],
)
def test_storage_and_path_are_decoded_and_otherwise_kept(
    start: str, written: str, storage: str, path: str
) -> None:
    url = parse_remote_url(f"{start}/{written}")
    assert (url.storage_name, url.relative_path) == (storage, path)


@pytest.mark.parametrize(
    ("user_info", "user"),
    [
        ("me", "me"),
        ("me:hidden", "me"),
        ("me:", "me"),
        (":hidden", ""),
        ("", ""),
        ("me%40example.com:hidden", "me@example.com"),
        ("me@example.com:hidden", "me@example.com"),
        ("me:hid#den", "me"),
        ("me:hid?den", "me"),
    ],
)
def test_who_uses_a_url_is_for_credentials_only_and_not_shown(user_info: str, user: str) -> None:
    assert parse_remote_url(f"gitaly://{user_info}@node/default/demo.git") == RemoteUrl(
        address="tcp://node:8075",
        host="node:8075",
        user=user,
        storage_name="default",
        relative_path="demo.git",
        shown="gitaly://node/default/demo.git",
    )


NO_URL = "not a URL of a repository, like gitaly://HOST[:PORT]/STORAGE/PATH"
NO_HOST = "no host; the form is gitaly://HOST[:PORT]/STORAGE/PATH"
NO_PATH = "no storage and path in it; the form is gitaly://HOST[:PORT]/STORAGE/PATH"
NO_SOCKET = "the form is gitaly+unix:///SOCKET:/STORAGE/PATH"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f": {NO_URL}"),
        ("nonsense", f"nonsense: {NO_URL}"),
        ("gitaly:node/default/a.git", f"gitaly:node/default/a.git: {NO_URL}"),
        ("https://node/default/a.git", f"https://node/default/a.git: {NO_URL}"),
        ("gitaly:///default/a.git", f"gitaly:///default/a.git: {NO_HOST}"),
        ("gitaly://:1/default/a.git", f"gitaly://:1/default/a.git: {NO_HOST}"),
        ("gitaly://no#de/default/a.git", f"gitaly://no#de/default/a.git: {NO_HOST}"),
        ("gitaly://no\tde/default/a.git", f"gitaly://no\tde/default/a.git: {NO_HOST}"),
        ("gitaly://node", f"gitaly://node: {NO_PATH}"),
        ("gitaly://node/default", f"gitaly://node/default: {NO_PATH}"),
        ("gitaly://node/default/", f"gitaly://node/default/: {NO_PATH}"),
        ("gitaly://node//a.git", f"gitaly://node//a.git: {NO_PATH}"),
        ("unix:///run/s:/default", f"unix:///run/s:/default: {NO_PATH}"),
        ("unix:///run/s/default/a.git", f"unix:///run/s/default/a.git: {NO_SOCKET}"),
        ("unix://run/s:/default/a.git", f"unix://run/s:/default/a.git: {NO_SOCKET}"),
        ("gitaly://node/d/\udcff", "gitaly://node/d/\udcff: storage and path must be UTF-8"),
        ("gitaly://node:70000/d/a", "gitaly://node:70000/d/a: Port out of range 0-65535"),
        ("gitaly://[::1/d/a", "gitaly://[::1/d/a: Invalid IPv6 URL"),
    ],
)
def test_what_is_no_url_of_a_repository_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_remote_url(text)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("node:x/default/a.git", "gitaly://node:x/default/a.git: "),
        ("node/default", "gitaly://node/default: "),
        ("/default/a.git", "gitaly:///default/a.git: "),
        ("[::1/default/a.git", "gitaly://[::1/default/a.git: "),
    ],
)
@pytest.mark.parametrize("user_info", ["me:hidden@", "me:hid#den@", "me:hid@den@"])
def test_a_refusal_does_not_show_a_password(place: str, shown: str, user_info: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_remote_url(f"gitaly://{user_info}{place}")
    assert str(refused.value).startswith(shown)
    assert "hid" not in str(refused.value)
