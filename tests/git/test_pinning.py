import pytest

from gitaly.errors import InvalidRequest
from gitaly.git import PinnedUrl, pinned

URL = "https://gitlab.example.com/a.git"


def resolve(value: str) -> tuple[tuple[str, str], ...]:
    return (("http.curloptResolve", value),)


@pytest.mark.parametrize(
    ("url", "address", "expected"),
    [
        (URL, "", PinnedUrl(URL)),
        (URL, "10.0.0.1", PinnedUrl(URL, resolve("gitlab.example.com:443:10.0.0.1"))),
        ("http://h:8080/a", "10.0.0.1", PinnedUrl("http://h:8080/a", resolve("h:8080:10.0.0.1"))),
        ("http://u:p@h/a", "10.0.0.1", PinnedUrl("http://u:p@h/a", resolve("h:80:10.0.0.1"))),
        ("git://h/a", "10.0.0.1", PinnedUrl("git://h/a", resolve("h:9418:10.0.0.1"))),
        ("http://h/a", "2001:db8::1", PinnedUrl("http://h/a", resolve("h:80:[2001:db8::1]"))),
        ("ssh://git@h/a.git", "10.0.0.1", PinnedUrl("ssh://git@10.0.0.1/a.git")),
        ("ssh://git@h:2222/a.git", "10.0.0.1", PinnedUrl("ssh://git@10.0.0.1:2222/a.git")),
        ("ssh://h/a", "2001:db8::1", PinnedUrl("ssh://[2001:db8::1]/a")),
        ("git@h:a/b.git", "10.0.0.1", PinnedUrl("git@10.0.0.1:a/b.git")),
        ("h:a/b.git", "10.0.0.1", PinnedUrl("10.0.0.1:a/b.git")),
    ],
)
def test_urls_lead_to_the_address(url: str, address: str, expected: PinnedUrl) -> None:
    assert pinned(url, address) == expected


@pytest.mark.parametrize(
    ("url", "address", "problem"),
    [
        (URL, "10.0.0", "resolved address has invalid IPv4/IPv6 address"),
        (URL, "gitlab.example.com", "resolved address has invalid IPv4/IPv6 address"),
        ("/srv/a.git", "10.0.0.1", "invalid protocol/URL encountered: /srv/a.git"),
        ("a/b:c", "10.0.0.1", "SSH URLs with '/' before colon are unsupported"),
        ("http://h:99999/a", "10.0.0.1", "couldn't parse remoteURL: Port out of range 0-65535"),
        ("http:///a", "10.0.0.1", "couldn't parse remoteURL: no host in it"),
    ],
)
def test_what_cannot_be_pinned_is_refused(url: str, address: str, problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pinned(url, address)
    assert caught.value.message == f"couldn't get curloptResolve config: {problem}"
