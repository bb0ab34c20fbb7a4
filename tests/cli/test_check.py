"""What `gitaly check` finds wrong, and what it says to do about it."""

import subprocess
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.cli.test_serve import configuration, gitaly
from tests.hooks.gitlab.server import GOOD, GitLabServer, Reply


@pytest.fixture
def gitlab() -> Iterator[GitLabServer]:
    with GitLabServer().serving() as server:
        yield server


def check(
    directory: Path, url: str, *, secret: str = 'secret = "s"'
) -> "subprocess.CompletedProcess[str]":
    return gitaly("check", configuration(directory, f'[gitlab]\nurl = "{url}"\n{secret}\n'))


def test_a_gitlab_that_nobody_serves_is_a_failure_with_the_words_of_the_original(
    tmp_path: Path,
) -> None:
    done = check(tmp_path, f"http+unix://{tmp_path}/nothing")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    place = lines.index("Checking GitLab API access: FAILED")
    assert lines[place + 1].startswith("  see that gitlab.url is reached from here")
    assert lines[-1] == "FAILED"
    assert done.stderr.splitlines() == [
        "HTTP GET to GitLab endpoint /check failed: Internal API unreachable"
    ]


def test_a_clock_that_is_off_is_a_failure(tmp_path: Path, gitlab: GitLabServer) -> None:
    late = {"Date": formatdate(1_600_000_000, usegmt=True)}
    gitlab.replies["/check"] = Reply(body=GOOD["/check"].body, headers=late)
    done = check(tmp_path, gitlab.url)
    assert done.returncode == 1
    assert "Checking GitLab API access: OK" in done.stdout
    assert "Checking clock: FAILED\n  synchronize the clocks of both machines" in done.stdout
    assert "clock: GitLab's clock and ours are " in done.stderr


def test_clocks_that_agree_are_well(tmp_path: Path, gitlab: GitLabServer) -> None:
    done = check(tmp_path, gitlab.url)
    assert done.returncode == 0, done.stderr
    assert "Checking clock: OK (" in done.stdout
    assert f"pushes are decided by GitLab at {gitlab.url}" in done.stdout


def test_redis_that_is_away_is_told_and_no_failure(tmp_path: Path, gitlab: GitLabServer) -> None:
    gitlab.replies["/check"] = Reply(body={"redis": False})
    done = check(tmp_path, gitlab.url)
    assert done.returncode == 0
    assert "Redis reachable for GitLab: false" in done.stdout


def test_a_secret_that_cannot_be_read_is_a_failure(tmp_path: Path, gitlab: GitLabServer) -> None:
    done = check(tmp_path, gitlab.url, secret=f'secret_file = "{tmp_path}/none"')
    assert done.returncode == 1
    assert f"gitlab.secret_file: {tmp_path}/none: No such file or directory" in done.stderr
    assert gitlab.calls == []


def test_a_node_does_not_start_without_its_secret(tmp_path: Path, gitlab: GitLabServer) -> None:
    text = f'[gitlab]\nurl = "{gitlab.url}"\nsecret_file = "{tmp_path}/none"\n'
    done = gitaly("serve", configuration(tmp_path, text))
    assert done.returncode == 1
    assert "reading secret file" in done.stdout


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[[standalone.rule]]\ndeny_deletions = true\n", "unknown key in the policy"),
        ('[standalone]\nwebhook_before = "ftp://x"\n', "standalone.webhook_before: not an http"),
        ('[standalone]\nwebhook_timeout = "0s"\n', "standalone.webhook_timeout: not in range"),
        ('[hooks]\ncustom_hooks_timeout = "-1s"\n', "hooks.custom_hooks_timeout: not in range"),
    ],
)
def test_a_policy_that_nobody_understands_starts_no_node(
    tmp_path: Path, text: str, error: str
) -> None:
    done = gitaly("serve", configuration(tmp_path, text))
    assert done.returncode == 1
    assert error in done.stderr


def test_rules_and_webhooks_are_told(tmp_path: Path, gitlab: GitLabServer) -> None:
    text = f'[standalone]\nwebhook_after = "{gitlab.url}/x?token=t"\n[[standalone.rule]]\n'
    done = gitaly("check", configuration(tmp_path, text))
    assert done.returncode == 0, done.stderr
    assert "Checking standalone.webhook_after: OK" in done.stdout
    assert (
        "standalone mode: no [gitlab] is configured, pushes are judged by 1 rule,"
        f" a webhook that is told ({gitlab.url}/x)" in done.stdout
    )


def test_a_webhook_that_nobody_serves_is_a_failure(tmp_path: Path) -> None:
    text = f'[standalone]\nwebhook_before = "http+unix://{"%2F".join(tmp_path.parts[1:])}/x"\n'
    done = gitaly("check", configuration(tmp_path, text.replace("unix://", "unix://%2F")))
    assert done.returncode == 1
    assert "Checking standalone.webhook_before: FAILED" in done.stdout
    assert "  see that something listens there" in done.stdout
