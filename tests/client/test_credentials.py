"""Tokens that git keeps for its user: a real git, and a helper that writes down what it is told."""

from pathlib import Path

import pytest

from gitaly.client.credentials import Credential, find_credential
from gitaly.client.remote_url import parse_remote_url

NODE = "gitaly://node:1/default/demo.git"


class Helper:
    """A credential helper; `told` is what git has said to it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "helper"
        self._told = directory / "told"
        self.answers("")

    def answers(self, text: str) -> None:
        """What it says when it is asked."""
        self.path.write_text(
            "#!/bin/sh\n"
            f"{{ echo \"$1\"; cat; }} >>'{self._told}'\n"
            f"test \"$1\" != get || printf '%s' '{text}'\n"
        )
        self.path.chmod(0o700)

    def told(self) -> list[str]:
        """Lines, without the order that git gives them."""
        lines = self._told.read_text().splitlines()
        return [lines[0], *sorted(line for line in lines[1:] if line[:1].islower())]


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    made = Helper(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": str(made.path),
    }.items():
        monkeypatch.setenv(name, value)
    return made


def found(text: str) -> Credential:
    credential = find_credential(parse_remote_url(text))
    assert credential is not None
    return credential


def test_the_password_that_a_helper_knows_is_the_token(helper: Helper) -> None:
    helper.answers("username=me\npassword=the token\n")
    assert found(NODE).secret == b"the token"


def test_git_is_asked_with_the_host_and_its_port(helper: Helper) -> None:
    helper.answers("username=me\npassword=t\n")
    found("gitaly://node/default/demo.git")
    assert helper.told() == ["get", "host=node:8075", "protocol=gitaly"]


def test_git_is_asked_with_the_user_of_the_url(helper: Helper) -> None:
    helper.answers("password=t\n")
    found("gitaly://me%40home:ignored@node:1/default/demo.git")
    assert helper.told() == ["get", "host=node:1", "protocol=gitaly", "username=me@home"]


def test_the_tokens_of_tls_are_those_of_tcp(helper: Helper) -> None:
    helper.answers("username=me\npassword=t\n")
    found("tls://[::1]/default/demo.git")
    assert helper.told() == ["get", "host=[::1]:9999", "protocol=gitaly"]


def test_a_socket_is_told_as_the_path(helper: Helper) -> None:
    helper.answers("username=me\npassword=t\n")
    found("unix:///run/a%20b:/default/demo.git")
    assert helper.told() == ["get", "host=localhost", "path=run/a b", "protocol=gitaly+unix"]


def test_a_token_need_not_be_text(helper: Helper) -> None:
    helper.path.write_bytes(b"#!/bin/sh\nprintf 'username=me\\npassword=a=\\377\\n'\n")
    assert found(NODE).secret == b"a=\xff"


@pytest.mark.parametrize("answer", ["", "username=me\n", "quit=1\n"])
def test_nobody_may_know_the_token(helper: Helper, answer: str) -> None:
    helper.answers(answer)
    assert find_credential(parse_remote_url(NODE)) is None


@pytest.mark.parametrize("user", ["me%0Ahost=other", "me%00"])
def test_a_user_who_would_say_more_than_a_name_is_not_asked_for(helper: Helper, user: str) -> None:
    helper.answers("username=me\npassword=t\n")
    assert find_credential(parse_remote_url(f"gitaly://{user}@node/default/demo.git")) is None


def test_a_token_that_was_good_is_to_be_stored(helper: Helper, tmp_path: Path) -> None:
    helper.answers("username=me\npassword=good\n")
    credential = found(NODE)
    (tmp_path / "told").unlink()
    credential.approve()
    assert helper.told() == [
        "store",
        "host=node:1",
        "password=good",
        "protocol=gitaly",
        "username=me",
    ]


def test_a_token_that_was_refused_is_to_be_forgotten(helper: Helper, tmp_path: Path) -> None:
    helper.answers("username=me\npassword=bad\n")
    credential = found("unix:///run/s:/default/demo.git")
    (tmp_path / "told").unlink()
    credential.reject()
    assert helper.told() == [
        "erase",
        "host=localhost",
        "password=bad",
        "path=run/s",
        "protocol=gitaly+unix",
        "username=me",
    ]


def test_a_helper_that_fails_is_not_heard_of(
    helper: Helper, capfd: pytest.CaptureFixture[str]
) -> None:
    helper.path.write_text("#!/bin/sh\necho trouble >&2\nexit 1\n")
    assert find_credential(parse_remote_url(NODE)) is None
    assert capfd.readouterr() == ("", "")
