import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gitaly.config import Config, ConfigError, TOMLError, load_text
from tests.e2e.node_process import command_line, wait_until

Program = Callable[[str], str]

STORAGES = '[[storage]]\nname = "a"\npath = "/a"\n[[storage]]\nname = "b"\npath = "/b"\n'


def loaded(program: Program, json: str, rest: str = "") -> Config:
    path = program(f"cat <<'EOF'\n{json}\nEOF")
    return load_text(f'config_command = "{path}"\n{rest}')


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_text(text)
    assert not isinstance(raised.value, TOMLError)
    return str(raised.value)


def test_an_empty_object_changes_nothing(program: Program) -> None:
    assert loaded(program, "{}", 'socket_path = "/s"').socket_path == "/s"


def test_null_in_place_of_the_object_changes_nothing(program: Program) -> None:
    assert loaded(program, "null", 'socket_path = "/s"').socket_path == "/s"


def test_generated_values_override_the_file_and_leave_the_rest(program: Program) -> None:
    config = loaded(program, '{"socket_path": "/t"}', 'socket_path = "/s"\nlisten_addr = "a:1"')
    assert (config.socket_path, config.listen_addr) == ("/t", "a:1")


def test_tables_are_merged(program: Program) -> None:
    json = '{"git": {"committer_name": "G"}, "graceful_restart_timeout": "2m"}'
    config = loaded(program, json, '[git]\nsigning_key = "/k"\ncommitter_name = "F"')
    assert (config.git.signing_key, config.git.committer_name) == ("/k", "G")
    assert config.graceful_restart_timeout.total_seconds() == 120


def test_an_empty_array_empties_the_list(program: Program) -> None:
    assert loaded(program, '{"storage": []}', STORAGES).storages == ()


def test_null_empties_a_list_and_nothing_else(program: Program) -> None:
    json = '{"storage": null, "socket_path": null, "git": null, "graceful_restart_timeout": null}'
    config = loaded(program, json, f'socket_path = "/s"\n{STORAGES}[git]\nsigning_key = "/k"')
    assert config.storages == ()
    assert (config.socket_path, config.git.signing_key) == ("/s", "/k")


def test_an_array_is_replaced_but_its_tables_keep_what_they_had(program: Program) -> None:
    storages = loaded(program, '{"storage": [{"path": "/x"}]}', STORAGES).storages
    assert [(s.name, s.path) for s in storages] == [("a", "/x")]


def test_an_array_may_grow(program: Program) -> None:
    json = '{"storage": [{}, {}, {"name": "c", "path": "/c"}]}'
    assert [s.name for s in loaded(program, json, STORAGES).storages] == ["a", "b", "c"]


def test_early_defaults_can_be_overridden(program: Program) -> None:
    json = '{"pack_objects_cache": {"backpressure": false}, "prometheus": {"scrape_timeout": "0"}}'
    config = loaded(program, json)
    assert config.pack_objects_cache.backpressure is False
    assert config.prometheus.scrape_timeout.total_seconds() == 0


def test_late_defaults_are_filled_in_afterwards(program: Program) -> None:
    json = '{"storage": [{"name": "x", "path": "/x//y/"}]}'
    config = loaded(program, json)
    assert config.storages[0].path == "/x/y"
    assert config.daily_maintenance.storages == ("x",)


def test_json_has_names_of_its_own(program: Program) -> None:
    config = loaded(
        program,
        """{
          "tls": {"cert_path": "/c", "certificate_path": "/ignored"},
          "gitlab": {"http_settings": {"read_timeout": 5}, "http-settings": {"read_timeout": 6}},
          "gitlab-shell": {"dir": "/shell"},
          "auth": {"token": "t", "transitioning": true, "token_file": "/ignored"},
          "cgroups": {
            "mountpoint": "/cg", "hierarchyroot": "h", "memorybytes": 10, "cpushares": 11,
            "cpuquotaus": 12, "metricsenabled": true, "memory_bytes": 99,
            "repositories": {
              "count": 2, "maxcgroupsperrepo": 2, "memorybytes": 3, "CPUShares": 4, "CpuQuotaUs": 5
            }
          }
        }""",
    )
    assert config.tls.certificate_path == "/c"
    assert config.gitlab.http_settings.read_timeout == 5
    assert config.gitlab_shell.dir == "/shell"
    assert (config.auth.token, config.auth.token_file) == ("t", "")
    assert config.auth.transitioning is True
    cgroups = config.cgroups
    assert (cgroups.mountpoint, cgroups.hierarchy_root) == ("/cg", "h")
    assert (cgroups.memory_bytes, cgroups.cpu_shares, cgroups.cpu_quota_us) == (10, 11, 12)
    assert cgroups.metrics_enabled is True
    groups = cgroups.repositories
    assert (groups.count, groups.max_cgroups_per_repo) == (2, 2)
    assert (groups.memory_bytes, groups.cpu_shares, groups.cpu_quota_us) == (3, 4, 5)
    assert sorted(config.origin.unknown_keys) == [
        "auth.token_file",
        "cgroups.memory_bytes",
        "gitlab.http-settings",
        "tls.certificate_path",
    ]


def test_a_generated_token_file_is_read(program: Program, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    assert loaded(program, f'{{"auth": {{"TokenFile": "{tmp_path}/token"}}}}').auth.secret == (
        "s3cret"
    )


def test_what_a_program_says_on_stderr_is_ignored_if_it_succeeds(program: Program) -> None:
    path = program('echo trouble >&2\necho \'{"socket_path": "/s"}\'')
    assert load_text(f'config_command = "{path}"').socket_path == "/s"


def test_a_program_gets_our_environment_and_directory_and_no_arguments(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREETING", "hello")
    monkeypatch.chdir(tmp_path)
    path = program('echo "{\\"socket_path\\": \\"$GREETING $# $PWD\\"}"')
    config = load_text(f'config_command = "{path}"')
    assert config.socket_path == f"hello 0 {os.getcwd()}"


def test_a_program_that_fails_is_quoted(program: Program) -> None:
    path = program("echo error >&2 && exit 1")
    assert refused(f'config_command = "{path}"') == (
        'running config command: exit status 1, stderr: "error\\n"'
    )


def test_a_program_that_is_killed_is_told_of(program: Program) -> None:
    path = program("kill -9 $$")
    assert refused(f'config_command = "{path}"') == (
        'running config command: signal: killed, stderr: ""'
    )


def test_a_missing_program_is_an_error() -> None:
    assert refused('config_command = "/does/not/exist"') == (
        "running config command: fork/exec /does/not/exist: no such file or directory"
    )


def test_a_program_must_be_executable(tmp_path: Path) -> None:
    (tmp_path / "generate").write_text("")
    (tmp_path / "generate").chmod(0o644)
    assert refused(f'config_command = "{tmp_path}/generate"') == (
        f"running config command: fork/exec {tmp_path}/generate: permission denied"
    )


def test_a_bare_name_is_looked_up_on_the_path() -> None:
    assert refused('config_command = "no-such-program-here"') == (
        'running config command: exec: "no-such-program-here": executable file not found in $PATH'
    )


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ("hello", "invalid character 'h' looking for beginning of value"),
        ("this is not json", "invalid character 'h' in literal true (expecting 'r')"),
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ('{"a":"x', "unexpected end of JSON input"),
        ('{"a":nul}', "invalid character '}' in literal null (expecting 'l')"),
        ('{"a"}', "invalid character '}' after object key"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a":[1,]}', "invalid character ']' looking for beginning of value"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ('{"a":[{"[":1} 2]}', "invalid character '2' after array element"),
        ("{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
        ("{} x", "invalid character 'x' after top-level value"),
        ('{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        ('{"a":"\\q"}', "invalid character 'q' in string escape code"),
        ('{"storage":[null]}', "json: cannot unmarshal null into key storage of type table"),
        ('{"a":' + "[" * 100_000, "exceeded max depth"),
        ("[]", "json: cannot unmarshal array into the configuration"),
        ("5", "json: cannot unmarshal number into the configuration"),
        ('{"socket_path":1}', "json: cannot unmarshal number into key socket_path of type string"),
        (
            '{"git":{"catfile_cache_size":1.5}}',
            "json: cannot unmarshal number 1.5 into key git.catfile_cache_size of type int",
        ),
        (
            '{"daily_maintenance":{"start_hour":-1}}',
            "json: cannot unmarshal number -1 into key daily_maintenance.start_hour of type uint",
        ),
        (
            '{"storage":[{"name":true}]}',
            "json: cannot unmarshal bool into key storage.name of type string",
        ),
        (
            '{"graceful_restart_timeout":1}',
            "json: cannot unmarshal number into key graceful_restart_timeout of type duration",
        ),
        ('{"graceful_restart_timeout":"x"}', 'time: invalid duration "x"'),
        ('{"tls":{"min_version":"TLS 1.1"}}', 'unsupported TLS version: "TLS 1.1"'),
    ],
)
def test_bad_json_is_refused_in_gos_words(program: Program, output: str, detail: str) -> None:
    path = program(f"printf %s \"$(cat <<'EOF'\n{output}\nEOF\n)\"")
    assert refused(f'config_command = "{path}"') == f"unmarshalling generated config: {detail}"


def test_a_command_that_takes_too_long_ends_with_all_that_it_has_started(
    program: Program, tmp_path: Path
) -> None:
    path = program(f"sleep 1000 & echo $! >{tmp_path}/pid; wait")
    with pytest.raises(ConfigError, match=r"^running config command: no end within 1 seconds$"):
        load_text(f'config_command = "{path}"', command_seconds=1.0)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: command_line(pid) == b"", "the child to end")
