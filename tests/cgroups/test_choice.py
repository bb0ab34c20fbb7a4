import random

import pytest

from gitaly.cgroups import Choice, NamedGroup, Resources, Settings, pack_config


def choice(count: int = 10, spread: int = 1, **named: NamedGroup) -> Choice:
    settings = Settings(count=count, groups_per_repository=spread, named=named)
    return Choice(settings, random.Random(1))


@pytest.mark.parametrize(("key", "name"), [("ls/-hal/.", "repos-8"), ("foobar", "repos-9")])
def test_the_group_is_the_one_that_the_reference_chooses(key: str, name: str) -> None:
    assert choice().of(key) == name


def test_a_repository_keeps_its_group_unless_it_may_have_several() -> None:
    one, three = choice(), choice(spread=3)
    assert {one.of("foobar") for _ in range(100)} == {"repos-9"}
    assert {three.of("foobar") for _ in range(100)} == {"repos-9", "repos-0", "repos-1"}


def test_a_named_repository_has_a_group_and_limits_of_its_own() -> None:
    own = Resources(memory_bytes=5)
    settings = Settings(
        count=10,
        repository=Resources(memory_bytes=1),
        named={"default/big.git": NamedGroup(name="big", resources=own)},
    )
    chosen = Choice(settings, random.Random(1))
    assert chosen.of("default/big.git") == "repos-big"
    assert chosen.resources("repos-big") == own
    assert chosen.resources(chosen.of("default/other.git")).memory_bytes == 1


@pytest.mark.parametrize("key", ["", "default/é.git", "default/\udcff.git"])
def test_any_name_of_a_repository_has_a_group(key: str) -> None:
    assert choice().of(key).startswith("repos-")


@pytest.mark.parametrize(
    ("resources", "cpus", "expected"),
    [
        (Resources(), 8, ()),
        (Resources(memory_bytes=128 << 20), 2, (("pack.windowMemory", str(32 << 20)),)),
        (Resources(memory_bytes=1 << 30), 16, (("pack.windowMemory", str(64 << 20)),)),
        (Resources(memory_bytes=100 << 30), 16, ()),
        (Resources(memory_bytes=1 << 20), 2, (("pack.windowMemory", str(1 << 20)),)),
        (Resources(cpu_quota_us=400_000), 16, (("pack.threads", "2"),)),
        (Resources(cpu_quota_us=50_000), 16, (("pack.threads", "1"),)),
        (Resources(cpu_quota_us=4_000_000), 16, ()),
    ],
)
def test_packing_follows_the_limits_of_the_group(
    resources: Resources, cpus: int, expected: tuple[tuple[str, str], ...]
) -> None:
    assert pack_config(resources, cpus) == expected
