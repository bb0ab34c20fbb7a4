from gitaly.cgroups.inquest import FRESH_SECONDS, Death, Docket, human


def death(before: int = 0, after: int = 1, peak: int = 100) -> Death:
    return Death(before=before, after=after, peak_bytes=peak)


def verdicts(docket: Docket, *deaths: Death) -> list[bool | None]:
    docket.deaths += deaths
    docket.decide()
    return [one.is_kill for one in deaths]


def test_a_kill_is_the_cause_of_one_death() -> None:
    docket = Docket()
    docket.note(1, 0.0)
    assert verdicts(docket, death()) == [True]
    assert verdicts(docket, death()) == [False]


def test_the_largest_is_who_was_killed() -> None:
    docket = Docket()
    docket.note(1, 0.0)
    assert verdicts(docket, death(peak=5), death(peak=900), death(peak=7)) == [False, True, False]


def test_as_many_are_named_as_were_killed() -> None:
    docket = Docket()
    docket.note(2, 0.0)
    assert verdicts(docket, death(after=2, peak=5), death(after=2, peak=9)) == [True, True]


def test_a_kill_before_the_birth_or_after_the_end_is_not_the_cause() -> None:
    docket = Docket()
    docket.note(3, 0.0)
    assert verdicts(docket, death(before=3, after=3)) == [False]
    docket.note(4, 0.0)
    assert verdicts(docket, death(before=0, after=0)) == [False]


def test_a_kill_that_explains_no_death_is_forgotten() -> None:
    docket = Docket()
    docket.note(1, 0.0)
    docket.note(1, FRESH_SECONDS + 1)
    assert verdicts(docket, death()) == [False]


def test_sizes_are_told_as_people_write_them() -> None:
    assert [human(size) for size in (1 << 30, 3 << 29, 128 << 20, 2048, 5)] == [
        "1 GiB",
        "1.5 GiB",
        "128 MiB",
        "2 KiB",
        "5 bytes",
    ]
