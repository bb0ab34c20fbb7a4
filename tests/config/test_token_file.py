from pathlib import Path

import pytest

from gitaly.config import ConfigError, load_text, problems, require_startable, validate_text


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("\n s3cret\n")
    path.chmod(0o600)
    return path


def test_the_token_is_read_without_white_space_and_kept_apart(token_file: Path) -> None:
    auth = load_text(f'[auth]\ntoken_file = "{token_file}"').auth
    assert (auth.secret, auth.token) == ("s3cret", "")


def test_without_a_file_the_secret_is_the_token() -> None:
    assert load_text('[auth]\ntoken = "t"').auth.secret == "t"


def test_a_token_from_a_file_wins_over_the_other(token_file: Path) -> None:
    assert load_text(f'[auth]\ntoken = "t"\ntoken_file = "{token_file}"').auth.secret == "s3cret"


def test_a_missing_token_file_keeps_the_configuration_from_loading(tmp_path: Path) -> None:
    outcome = validate_text(f'[auth]\ntoken_file = "{tmp_path}/none"')
    assert outcome.stdout == ""
    assert outcome.stderr == (
        "processing input data: reading token file: "
        f"open {tmp_path}/none: no such file or directory"
    )
    assert outcome.exit_code == 1


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (0o644, "file permission 0644 is too permissive, should be 0600 or 0400"),
        (0o660, "file permission 0660 is too permissive, should be 0600 or 0400"),
        (0o700, "file permission 0700 is too permissive, should be 0600 or 0400"),
    ],
)
def test_a_token_file_that_others_may_read_is_refused(
    token_file: Path, good: str, mode: int, text: str
) -> None:
    token_file.chmod(mode)
    config = load_text(f'{good}[auth]\ntoken_file = "{token_file}"')
    assert [str(problem) for problem in problems(config)] == [f"auth.token_file: {text}"]
    with pytest.raises(ConfigError) as raised:
        require_startable(config)
    assert str(raised.value) == f"token_file: {text}"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_token_file_of_its_owner_is_good(token_file: Path, good: str, mode: int) -> None:
    token_file.chmod(mode)
    config = load_text(f'{good}[auth]\ntoken_file = "{token_file}"')
    assert problems(config) == []
    require_startable(config)


def test_an_empty_token_file_does_not_switch_authentication_off(
    token_file: Path, good: str
) -> None:
    token_file.write_text(" \n")
    config = load_text(f'{good}[auth]\ntoken_file = "{token_file}"')
    text = "the file holds no token; to let everybody in, remove the key"
    assert [str(problem) for problem in problems(config)] == [f"auth.token_file: {text}"]
    with pytest.raises(ConfigError, match=f"^token_file: {text}$"):
        require_startable(config)


def test_lines_of_a_token_file_are_one_token(token_file: Path) -> None:
    token_file.write_text("one\ntwo\n")
    assert load_text(f'[auth]\ntoken_file = "{token_file}"').auth.secrets == ("one\ntwo",)
