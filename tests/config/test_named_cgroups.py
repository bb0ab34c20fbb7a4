import pytest

from gitaly.cgroups import NamedGroup, Resources
from gitaly.config import ConfigError, load_text, problems, require_startable
from gitaly.spawning import settings_of

NODE = 'socket_path = "/s"\n'
STORAGE = '[[storage]]\nname = "a"\npath = "/tmp"\n'
GROUPS = "[cgroups]\nmemory_bytes = 100\n[cgroups.repositories]\ncount = 2\n"
TABLE = '[[cgroups.repositories.named]]\nname = "big"\nstorage = "a"\nrelative_path = "b.git"\n'


def found(text: str) -> list[str]:
    """The problems of the groups."""
    said = (f"{'.'.join(problem.key)}: {problem.message}" for problem in problems(load_text(text)))
    return [line.removeprefix("cgroups.repositories.") for line in said if "cgroups" in line]


def test_a_repository_may_have_a_group_of_its_own() -> None:
    text = NODE + GROUPS + TABLE + "memory_bytes = 50\ncpu_shares = 7\n"
    assert found(text) == []
    assert settings_of(load_text(text)).named == {
        "a/b.git": NamedGroup(name="big", resources=Resources(memory_bytes=50, cpu_shares=7))
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            GROUPS + TABLE.replace("big", "7"),
            'named.[0].name: "7" is not a letter followed by letters, digits, - or _',
        ),
        (GROUPS + TABLE.replace('"a"', '""'), "named.[0].storage: not set"),
        (GROUPS + TABLE + "memory_bytes = 101", "named.[0].memory_bytes: not in range: 101"),
        (GROUPS + TABLE + TABLE, 'named.[1].relative_path: has a group already: "big"'),
        (
            GROUPS + TABLE + TABLE.replace("b.git", "c.git") + "cpu_shares = 7",
            'named.[1].name: "big" has other limits above',
        ),
        (TABLE, "named.[0].name: has no effect: count is not set"),
    ],
)
def test_what_is_wrong_with_such_a_table_is_said_with_its_key(text: str, problem: str) -> None:
    [line] = found(NODE + text)
    assert line.startswith(problem)


def test_repositories_may_share_a_named_group() -> None:
    assert found(NODE + GROUPS + TABLE + TABLE.replace("b.git", "c.git")) == []


@pytest.mark.parametrize("name", ["../../x", "7", ""])
def test_a_node_does_not_start_with_a_name_that_could_lead_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match="named"):
        require_startable(load_text(NODE + GROUPS + TABLE.replace("big", name) + STORAGE))
