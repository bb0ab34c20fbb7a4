import subprocess

import pytest

from gitaly.git import is_valid_reference_name
from tests.git.support import run_git


@pytest.mark.parametrize(
    "name",
    [
        "refs/heads/main", "refs/heads/a.b", "refs/heads/-", "refs/@/x", "refs/heads/@", "a/b",
        "refs/heads/.a", "refs/.heads/a", "refs/heads/a.", "refs/heads/a..b", "refs/heads/a.lock",
        "refs/heads/a.lock/b", "refs/heads/a@{b", "refs/heads/@{", "refs/heads/a b", "refs/a\x7f",
        "refs/heads/a~", "refs/a^", "refs/a:", "refs/a?", "refs/a*", "refs/a[", "refs/a\\",
        "refs/", "/refs/a", "refs//a", "refs", "@", "", "refs/heads/ü", "refs/a\x1f", "refs/a]",
        "refs/heads/a.locked", "refs/heads/{}", "refs/heads/a/.", "refs/heads/a/./b",
    ],
)  # fmt: skip
def test_names_are_judged_as_git_judges_them(name: str) -> None:
    try:
        run_git("check-ref-format", name)
    except subprocess.CalledProcessError:
        expected = False
    else:
        expected = True
    assert is_valid_reference_name(name.encode()) is expected
