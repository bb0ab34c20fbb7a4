import pytest

from gitaly.config.urls import url_problem


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost:3000",
        "https://u:p@gitlab.example.com/gitlab?x=%zz",
        "http://[::1]:80/",
        "http://[fe80::1%25en0]/",
        "gs://bucket",
        "s3://bucket/a%20b",
        "mailto:x y",
        "a/b:c",
        "//host/path",
        "http://h:",
        "http://x/a b",
        "http://é/",
    ],
)
def test_nearly_everything_is_a_url(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://[::1", "missing ']' in host"),
        ("http://[::1]x", 'invalid port "x" after host'),
        ("http://a:abc", 'invalid port ":abc" after host'),
        ("http://a b/", 'invalid character " " in host name'),
        ("http://a^b/", 'invalid character "^" in host name'),
        ("http://%41/", 'invalid URL escape "%41"'),
        ("http+unix://%2Frun%2Fsocket", 'invalid URL escape "%2F"'),
        ("http://[fe80::1%en0]/", 'invalid URL escape "%en"'),
        ("http://h/%zz", 'invalid URL escape "%zz"'),
        ("http://x#%zz", 'invalid URL escape "%zz"'),
        ("http://u%zz@h", 'invalid URL escape "%zz"'),
        ("http://u ser@h", "net/url: invalid userinfo"),
        ("foo%2", 'invalid URL escape "%2"'),
        (":foo", "missing protocol scheme"),
        ("1http://x", "first path segment in URL cannot contain colon"),
    ],
)
def test_a_bad_url_is_refused_in_gos_words(url: str, problem: str) -> None:
    assert url_problem(url) == f'parse "{url}": {problem}'


def test_a_control_character_is_shown_escaped() -> None:
    problem = url_problem("http://a/\n")
    assert problem == r'parse "http://a/\n": net/url: invalid control character in URL'
