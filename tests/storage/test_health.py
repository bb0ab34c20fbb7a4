"""When a storage counts as unhealthy, and when as healthy again."""

import pytest

from gitaly.storage import Health, Probe, Problem, Space

MIB = 1 << 20
WELL = Probe(space=Space(size_bytes=1000 * MIB, available_bytes=500 * MIB))
READ_ONLY = Probe(problem=Problem.READ_ONLY, error="Read-only file system")
GONE = Probe(problem=Problem.GONE, error="No such file or directory")


def with_space(mebibytes: int, inodes: int = 100_000) -> Probe:
    return Probe(
        space=Space(
            size_bytes=1000 * MIB,
            available_bytes=mebibytes * MIB,
            inodes=1_000_000,
            available_inodes=inodes,
        )
    )


def verdicts(*probes: Probe) -> list[str]:
    health, found = Health(), []
    for number, probe in enumerate(probes):
        health.observe(probe, float(number))
        found.append(health.problem.value if health.problem else "well")
    return found


@pytest.mark.parametrize("probe", [WELL, READ_ONLY])
def test_the_first_look_counts(probe: Probe) -> None:
    health = Health()
    assert health.observe(probe, 7.0)
    assert (health.problem, health.since) == (probe.problem, 7.0)


def test_one_bad_look_is_not_believed_two_are() -> None:
    assert verdicts(WELL, READ_ONLY, WELL, READ_ONLY, READ_ONLY) == ["well"] * 4 + ["read_only"]


def test_it_takes_three_good_looks_in_a_row_to_be_well_again() -> None:
    looks = (READ_ONLY, WELL, WELL, READ_ONLY, WELL, WELL, WELL)
    assert verdicts(*looks) == ["read_only"] * 6 + ["well"]


def test_a_storage_that_is_bad_every_other_time_does_not_flap() -> None:
    assert set(verdicts(WELL, *[READ_ONLY, WELL] * 50)) == {"well"}
    assert set(verdicts(READ_ONLY, *[WELL, READ_ONLY] * 50)) == {"read_only"}


def test_another_problem_takes_the_place_of_the_first() -> None:
    assert verdicts(READ_ONLY, GONE, GONE) == ["read_only", "read_only", "gone"]


def test_who_sees_something_new_looks_again_soon() -> None:
    health, pauses = Health(), []
    for probe in (WELL, WELL, READ_ONLY, READ_ONLY, READ_ONLY):
        health.observe(probe, 0.0)
        pauses.append(health.pause_seconds)
    assert pauses == [5.0, 5.0, 1.0, 5.0, 5.0]


def test_only_changes_are_told() -> None:
    health = Health()
    told = [health.observe(probe, 0.0) for probe in (WELL, WELL, GONE, GONE, GONE, GONE)]
    assert told == [True, False, False, True, False, False]


def test_an_almost_full_disk_is_a_full_one_and_stays_it_until_there_is_twice_as_much() -> None:
    looks = [with_space(m) for m in (17, 15, 15, 17, 17, 17, 33, 33, 33)]
    assert verdicts(*looks) == ["well", "well", *["no_space"] * 6, "well"]


def test_so_are_inodes() -> None:
    looks = [with_space(500, n) for n in (100, 99, 99, 150, 150, 150, 200, 200, 200)]
    assert verdicts(*looks) == ["well", "well", *["no_inodes"] * 6, "well"]


def test_file_systems_that_do_not_count_inodes_have_enough_of_them() -> None:
    assert verdicts(WELL) == ["well"]


def test_the_reason_names_what_is_left() -> None:
    health = Health()
    health.observe(with_space(3), 0.0)
    assert health.error == "3.0 MiB are left"
    health = Health()
    health.observe(with_space(300, 9), 0.0)
    assert health.error == "9 inodes are left"


def test_the_space_that_was_seen_last_is_remembered_when_nothing_can_be_asked() -> None:
    health = Health()
    for probe in (WELL, GONE, GONE):
        health.observe(probe, 0.0)
    assert health.space.available_bytes == 500 * MIB
