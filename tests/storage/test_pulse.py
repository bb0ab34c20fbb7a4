"""A call asks whether the file system answers before it touches it."""

import asyncio
import threading
from pathlib import Path

import pytest

from gitaly.errors import Unavailable
from gitaly.storage import Pulse, Storages
from tests.storage.mounts import silence
from tests.transport.wires import until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def storages(root: Path) -> Storages:
    return Storages(
        [("default", str(root)), ("same", str(root)), ("gone", str(root.with_name("none")))]
    )


def askers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "storage-apart"]


async def test_an_answer_holds_for_a_moment_and_for_all_names_of_a_path(storages: Storages) -> None:
    pulse = Pulse(storages, fresh_seconds=60)
    assert not pulse.is_fresh("default")
    await pulse.feel("default")
    assert pulse.is_fresh("default")
    assert pulse.is_fresh("same")
    assert not pulse.is_fresh("gone")


async def test_an_answer_gets_old(storages: Storages) -> None:
    pulse = Pulse(storages, fresh_seconds=0)
    await pulse.feel("default")
    assert not pulse.is_fresh("default")


async def test_a_storage_that_is_not_there_answers_so(storages: Storages) -> None:
    """What is wrong with it, others say better."""
    pulse = Pulse(storages, fresh_seconds=60)
    await pulse.feel("gone")
    assert pulse.is_fresh("gone")


async def test_names_that_are_no_storages_are_left_to_others(storages: Storages) -> None:
    pulse = Pulse(storages)
    assert pulse.is_fresh("")
    assert pulse.is_fresh("nowhere")


async def test_calls_that_come_together_ask_once_and_are_refused_together(
    storages: Storages, root: Path
) -> None:
    pulse = Pulse(storages, fresh_seconds=0, patience_seconds=0.3)
    with silence(root):
        feeling = [pulse.feel(name) for name in ("default", "same") * 50]
        found = await asyncio.gather(*feeling, return_exceptions=True)
        assert {type(error) for error in found} == {Unavailable}
        assert {str(error) for error in found} == {
            'storage "default" is not available',
            'storage "same" is not available',
        }
        assert len(askers()) == 1
        error = found[0]
        assert isinstance(error, Unavailable)
        assert error.metadata == {
            "storage_path": str(root),
            "reason": "its file system has not answered for 0.3 seconds",
        }
    await until(lambda: askers() == [])
    await pulse.feel("default")


async def test_who_comes_when_others_have_waited_in_vain_does_not_wait(
    storages: Storages, root: Path
) -> None:
    pulse = Pulse(storages, fresh_seconds=0, patience_seconds=0.1)
    with silence(root):
        with pytest.raises(Unavailable):
            await pulse.feel("default")
        late = asyncio.ensure_future(pulse.feel("default"))
        await asyncio.sleep(0)
        assert late.done()
        with pytest.raises(Unavailable):
            await late
        await pulse.feel("gone")  # that one is elsewhere
    await until(lambda: askers() == [])


async def test_a_caller_that_leaves_takes_the_question_of_nobody(
    storages: Storages, root: Path
) -> None:
    pulse = Pulse(storages, fresh_seconds=60, patience_seconds=30)
    with silence(root):
        first = asyncio.ensure_future(pulse.feel("default"))
        second = asyncio.ensure_future(pulse.feel("default"))
        await until(lambda: len(askers()) == 1)
        first.cancel()
        await asyncio.wait([first])
        assert not second.done()
    await second
    assert pulse.is_fresh("default")


async def test_a_file_system_that_somebody_else_answers_for_is_asked_by_each_call(
    storages: Storages, root: Path
) -> None:
    pulse = Pulse(storages, fresh_seconds=60)
    with silence(root):
        feeling = asyncio.ensure_future(pulse.feel("default"))
        await until(lambda: len(askers()) == 1)
        await asyncio.sleep(0)
        assert not pulse.is_fresh("default")
    await feeling
