"""`gitaly configuration validate`: what tools read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gitaly.config import ValidationOutcome, validate_text
from tests.config.good import answer

BAD_SETTING = (
    '[[git.config]]\nkey = "bad"\nvalue = "x"\n[[git.config]]\nkey = ".a.b"\nvalue = "x"\n'
)


def test_a_good_configuration_is_passed_over_in_silence(good: str) -> None:
    assert validate_text(good) == ValidationOutcome("", "", 0)


def test_unknown_keys_are_no_error(good: str) -> None:
    text = f'{good}[gitaly-ruby]\nmax_rss = 1\n[[rate_limiting]]\nrpc = "x"\n'
    assert validate_text(text) == ValidationOutcome("", "", 0)


def test_an_empty_input_has_five_errors() -> None:
    assert validate_text("") == ValidationOutcome(
        """{
  "errors": [
    {
      "message": "none of \\"socket_path\\", \\"listen_addr\\" or \\"tls_listen_addr\\" is set"
    },
    {
      "key": [
        "bin_dir"
      ],
      "message": "doesn't exist: \\"\\""
    },
    {
      "key": [
        "storage"
      ],
      "message": "not set"
    },
    {
      "key": [
        "gitlab",
        "url"
      ],
      "message": "blank or empty"
    },
    {
      "key": [
        "gitlab",
        "secret_file"
      ],
      "message": "doesn't exist: \\".gitlab_shell_secret\\""
    }
  ]
}
""",
        "",
        2,
    )


def test_a_decode_error_is_the_only_error_and_has_no_key() -> None:
    assert validate_text('graceful_restart_timeout = "bad value"') == ValidationOutcome(
        """{
  "errors": [
    {
      "message": "line 1 column 28: toml: time: invalid duration \\"bad value\\""
    }
  ]
}
""",
        "",
        2,
    )


def test_a_syntax_error_is_told_in_the_same_way(good: str) -> None:
    (error,) = answer(f"{good}x = [")
    assert error == (None, "line 12 column 6: toml: invalid value")


def test_the_input_may_be_bytes() -> None:
    assert validate_text(b"").exit_code == 2


def test_no_listener_is_an_error_without_a_key(good: str) -> None:
    assert answer("\n".join(good.splitlines()[2:])) == [
        (None, 'none of "socket_path", "listen_addr" or "tls_listen_addr" is set')
    ]


def test_git_settings_have_no_index(good: str) -> None:
    assert answer(good + BAD_SETTING) == [
        (["git", "config", "key"], 'key "bad" must contain at least one section'),
        (["git", "config", "key"], 'key ".a.b" must not start or end with a dot'),
    ]


def test_latency_buckets_must_ascend(good: str) -> None:
    assert answer(f"{good}[prometheus]\ngrpc_latency_buckets = [1.0, 0.5]") == [
        (["prometheus", "grpc_latency_buckets"], "bad order: expected asc: [1 0.5]")
    ]


def test_an_adaptive_limit_is_told_minimum_first(good: str) -> None:
    text = (
        f'{good}[[concurrency]]\nrpc = "x"\nadaptive = true\n'
        "min_limit = 0\nmax_limit = 5\ninitial_limit = 9\n"
    )
    assert answer(text) == [
        (["concurrency", "[0]", "min_limit"], "not in range: 0 is not greater than 0"),
        (
            ["concurrency", "[0]", "max_limit"],
            "not in range: 5 is not greater than or equal to 9",
        ),
    ]


def test_a_missing_certificate_is_told_without_loading_the_key(good: str, tmp_path: Path) -> None:
    text = (
        f'{good}[tls]\ncertificate_path = "{tmp_path}/none.pem"\nkey_path = "{tmp_path}/secret"\n'
    )
    assert answer(text) == [(["tls", "certificate_path"], f'doesn\'t exist: "{tmp_path}/none.pem"')]


def test_several_errors_are_told_together_and_an_empty_path_is_the_working_directory(
    good: str, tmp_path: Path
) -> None:
    text = good.replace(f"{tmp_path}/repositories", "").replace("http://localhost:3000", "")
    assert answer(f'graceful_restart_timeout = "-5s"\n{text}') == [
        (["gitlab", "url"], "blank or empty"),
        (["graceful_restart_timeout"], "not in range: -5s is not greater than or equal to 0s"),
    ]


def test_text_is_escaped_as_go_does() -> None:
    outcome = validate_text("[[git.config]]\nkey = '<a>&\"\\é\u2028\t'")
    assert (
        '"message": "key \\"\\u003ca\\u003e\\u0026\\\\\\"\\\\\\\\é\\\\u2028\\\\t\\" '
        'must contain at least one section"'
    ) in outcome.stdout


def test_a_path_is_escaped_too(good: str, tmp_path: Path) -> None:
    outcome = validate_text(good.replace("/repositories", "/<&>"))
    assert f'"message": "doesn\'t exist: \\"{tmp_path}/\\u003c\\u0026\\u003e\\""' in outcome.stdout


def test_what_cannot_be_loaded_goes_to_stderr_without_a_newline() -> None:
    assert validate_text('config_command = "/does/not/exist"') == ValidationOutcome(
        "",
        "processing input data: running config command: "
        "fork/exec /does/not/exist: no such file or directory",
        1,
    )


def test_the_config_command_is_run(good: str, program: Callable[[str], str]) -> None:
    path = program('echo \'{"graceful_restart_timeout": "-1s"}\'')
    assert answer(f'config_command = "{path}"\n{good}') == [
        (["graceful_restart_timeout"], "not in range: -1s is not greater than or equal to 0s")
    ]


@pytest.mark.parametrize("text", ["a = 1\na = 2", "[daily_maintenance]\nstart_hour = -1"])
def test_an_error_without_a_place_cannot_be_answered_in_json(text: str) -> None:
    outcome = validate_text(text)
    assert outcome.stderr.startswith("processing input data: load toml: toml: ")
    assert (outcome.stdout, outcome.exit_code) == ("", 1)
