"""`[auth] tokens`: several that are valid at once, and which of them is sent."""

from pathlib import Path

import pytest

from gitaly.config import ConfigError, load_text, problems, require_startable, validate_text
from tests.config.good import told


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("from the file\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("", ()),
        ('token = "one"', ("one",)),
        ('tokens = ["new", "old"]', ("new", "old")),
        ('tokens = ["new", "old"]\ntoken = "newest"', ("newest", "new", "old")),
        ('tokens = ["new", "old"]\ntoken = "old"', ("old", "new")),
        ('token = "one"\ntokens = []', ("one",)),
        ('tokens = [" spaces belong to it "]', (" spaces belong to it ",)),
    ],
)
def test_the_token_comes_first_and_then_the_tokens_in_their_order(
    text: str, secrets: tuple[str, ...]
) -> None:
    auth = load_text(f"[auth]\n{text}").auth
    assert auth.secrets == secrets
    assert auth.secret == (secrets[0] if secrets else "")


def test_a_token_of_a_file_comes_before_the_tokens(token_file: Path, good: str) -> None:
    config = load_text(f'{good}[auth]\ntoken_file = "{token_file}"\ntokens = ["old"]')
    assert config.auth.secrets == ("from the file", "old")
    assert problems(config) == []
    require_startable(config)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (
            '["horse", ""]',
            "auth.tokens.[1]: empty: everybody could sign with it;"
            " allowed: a text that is not empty",
        ),
        (
            '["horse", "staple", "horse"]',
            "auth.tokens.[2]: the same token as [0]; allowed: each token once",
        ),
        (
            str([f"horse{number}" for number in range(9)]),
            "auth.tokens: 9 tokens, at most 8 can be valid at once",
        ),
    ],
)
def test_tokens_that_make_no_sense_keep_a_node_from_starting(
    good: str, tokens: str, said: str
) -> None:
    text = f"{good}[auth]\ntokens = {tokens}\n"
    assert told(text) == [said]
    with pytest.raises(ConfigError) as raised:
        require_startable(load_text(text))
    assert str(raised.value) == said.removeprefix("auth.")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tokens = 4711", "cannot decode TOML integer into key auth.tokens of type"),
        ('tokens = "horse"', "cannot decode TOML string into key auth.tokens of type"),
        ('tokens = ["staple", 4711]', "cannot decode TOML integer into"),
        ('tokens = ["horse', ""),
        ('token = ["horse"]', ""),
        ("token = horse", ""),
        ('tokens = ["horse", "horse"]', "the same token as [0]"),
        ('token = "horse"\ntoken = "staple"', ""),
    ],
)
def test_what_is_wrong_with_tokens_is_said_without_them(line: str, said: str) -> None:
    outcome = validate_text(f"[auth]\n{line}\n")
    assert outcome.exit_code != 0
    answer = outcome.stdout + outcome.stderr
    assert said in answer
    assert not {"horse", "staple", "4711"} & set(answer.replace('"', " ").split())
    assert "horse" not in answer


def test_a_configuration_shows_no_token() -> None:
    config = load_text('[auth]\ntoken = "correct horse"\ntokens = ["battery staple"]')
    assert "horse" not in repr(config)
    assert "staple" not in repr(config)


def test_a_program_may_give_the_tokens(tmp_path: Path) -> None:
    program = tmp_path / "generate"
    program.write_text('#!/bin/sh\necho \'{"auth": {"tokens": ["new", "old"]}}\'\n')
    program.chmod(0o700)
    config = load_text(f'config_command = "{program}"\n[auth]\ntokens = ["one of the file"]')
    assert config.auth.secrets == ("new", "old")
