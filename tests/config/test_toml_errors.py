import pytest

from gitaly.config import ConfigError, TOMLError, load_text


@pytest.mark.parametrize(
    ("text", "line", "column", "detail"),
    [
        ('graceful_restart_timeout = "bad value"', 1, 28, 'time: invalid duration "bad value"'),
        ("graceful_restart_timeout = 300", 1, 28, 'time: missing unit in duration "300"'),
        ("graceful_restart_timeout = 1.5", 1, 28, 'time: missing unit in duration "1.5"'),
        ("graceful_restart_timeout = true", 1, 28, 'time: invalid duration "true"'),
        ('[tls]\nmin_version = "TLS 1.1"', 2, 15, 'unsupported TLS version: "TLS 1.1"'),
        (
            "socket_path = 5",
            *(1, 15),
            "cannot decode TOML integer into key socket_path of type string",
        ),
        ("socket_path = true", 1, 15, "cannot assign boolean to a true"),
        ("socket_path = 1.5", 1, 15, "float cannot be assigned to string"),
        ("socket_path = {a = 1}", 1, 15, "cannot store inline table in Go type string"),
        (
            "socket_path = 2020-01-01",
            *(1, 15),
            "cannot decode TOML local date into key socket_path of type string",
        ),
        (
            "socket_path = 2020-01-01T00:00:00Z",
            *(1, 15),
            "cannot decode TOML datetime into key socket_path of type string",
        ),
        (
            "socket_path = 2020-01-01T00:00:00",
            *(1, 15),
            "cannot decode TOML local datetime into key socket_path of type string",
        ),
        (
            "socket_path = 07:00:00",
            *(1, 15),
            "cannot decode TOML local time into key socket_path of type string",
        ),
        (
            '[git]\n\n  catfile_cache_size = "x"',
            *(3, 24),
            "cannot decode TOML string into key git.catfile_cache_size of type int",
        ),
        (
            "[git]\ncatfile_cache_size = 9223372036854775808",
            *(2, 22),
            "couldn't parse decimal number: strconv.ParseInt: "
            'parsing "9223372036854775808": value out of range',
        ),
        ("[[git.config]]\nkey = true", 2, 7, "cannot assign boolean to a true"),
        (
            '[[git.config]]\nkey = "a.b"\n[[git.config]]\nvalue = 5',
            *(4, 9),
            "cannot decode TOML integer into key git.config.value of type string",
        ),
        (
            "[git]\nrotated_signing_keys = ['a', 5]",
            *(2, 30),
            "cannot decode TOML integer into key git.rotated_signing_keys of type string",
        ),
        (
            "storage = 1",
            1,
            11,
            "cannot decode TOML integer into key storage of type array of tables",
        ),
        ("[storage]\nname = 'x'", 1, 2, "cannot store a table in a slice"),
        ("[storage.default]\npath = 'x'", 1, 2, "cannot store a table in a slice"),
        ("[git.config]\nkey = 'x'", 1, 6, "cannot store a table in a slice"),
        ("storage = {name = 'x'}", 1, 11, "cannot store inline table in Go type slice"),
        ("git = 'x'", 1, 7, "cannot decode TOML string into key git of type table"),
        (
            "prometheus.grpc_latency_buckets = ['x']",
            *(1, 36),
            "cannot decode TOML string into key prometheus.grpc_latency_buckets of type float",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_with_its_place(
    text: str, line: int, column: int, detail: str
) -> None:
    with pytest.raises(TOMLError) as raised:
        load_text(text)
    error = raised.value
    assert (error.line, error.column, error.detail) == (line, column, detail)
    assert str(error) == f"load toml: toml: {detail}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[daily_maintenance]\nstart_hour = -1",
            "toml: negative number -1 does not fit in an uint",
        ),
        (
            "[cgroups.repositories]\ncpu_shares = -2",
            "toml: negative number -2 does not fit in an uint",
        ),
        (
            "socket_path = ['a']",
            "toml: cannot decode TOML array into key socket_path of type string",
        ),
        ("[[git]]\nx = 1", "toml: cannot decode TOML array table into key git of type table"),
        ("[socket_path]\nx = 1", "unhandled kv part: string"),
        ("graceful_restart_timeout.x = 1", "unhandled kv part: int64"),
        ("socket_path = 'a'\nsocket_path = 'b'", "toml: key socket_path is already defined"),
        ("[git]\n[git]", "toml: table git already exists"),
        (f"x = {'[' * 5000}", "toml: nested too deeply"),
    ],
)
def test_some_errors_have_no_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_text(text)
    assert not isinstance(raised.value, TOMLError)
    assert str(raised.value) == f"load toml: {message}"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("x = [", 1, 6), ("a = abc", 1, 5), ("[git\n", 1, 5), ("a = 1 b = 2", 1, 7)],
)
def test_what_is_not_toml_is_an_error_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(TOMLError) as raised:
        load_text(text)
    assert (raised.value.line, raised.value.column) == (line, column)


def test_what_is_not_utf8_is_an_error_with_its_place() -> None:
    with pytest.raises(TOMLError) as raised:
        load_text(b"a = 1\nb = '\xff'")
    assert (raised.value.line, raised.value.column, raised.value.detail) == (2, 6, "invalid UTF-8")


def test_of_several_errors_the_first_in_the_text_is_told() -> None:
    with pytest.raises(TOMLError) as raised:
        load_text("listen_addr = 1\nsocket_path = 2\n[git]\nconfig = [3]\n")
    assert (raised.value.line, raised.value.column) == (1, 15)
