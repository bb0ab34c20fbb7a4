"""A call asks whether the file system answers before it touches it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gitaly.errors import Unavailable
from gitaly.storage import Pulse, Storages
from tests.e2e.node_process import wait_until
from tests.storage.mounts import answering, silence
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


@pytest.fixture
def pulse(storages: Storages) -> Iterator[Pulse]:
    """One that believes an answer for a long time, and waits long."""
    pulse = Pulse(storages, fresh_seconds=60, patience_seconds=30)
    yield pulse
    pulse.close()
    wait_until(lambda: askers() == [], "the threads have ended")


@pytest.fixture
def hasty(storages: Storages) -> Iterator[Pulse]:
    """One that asks for each call, and waits not long."""
    pulse = Pulse(storages, fresh_seconds=0, patience_seconds=0.3)
    yield pulse
    pulse.close()
    wait_until(lambda: askers() == [], "the threads have ended")


def askers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "storage-apart"]


async def test_an_answer_holds_for_a_moment_and_for_all_names_of_a_path(pulse: Pulse) -> None:
    assert not pulse.is_fresh("default")
    await pulse.feel("default")
    assert pulse.is_fresh("default")
    assert pulse.is_fresh("same")
    assert not pulse.is_fresh("gone")


async def test_an_answer_gets_old(hasty: Pulse) -> None:
    await hasty.feel("default")
    assert not hasty.is_fresh("default")


async def test_a_storage_that_is_not_there_answers_so(pulse: Pulse) -> None:
    """What is wrong with it, others say better."""
    await pulse.feel("gone")
    assert pulse.is_fresh("gone")


async def test_names_that_are_no_storages_are_left_to_others(pulse: Pulse) -> None:
    assert pulse.is_fresh("")
    assert pulse.is_fresh("nowhere")


async def test_calls_that_come_together_ask_once_and_are_refused_together(
    hasty: Pulse, root: Path
) -> None:
    with silence(root):
        feeling = [hasty.feel(name) for name in ("default", "same") * 50]
        found = await asyncio.gather(*feeling, return_exceptions=True)
        assert {type(error) for error in found} == {Unavailable}
        assert {str(error) for error in found} == {
            'storage "default" is not available',
            'storage "same" is not available',
        }
        error = found[0]
        assert isinstance(error, Unavailable)
        assert error.metadata == {
            "storage_path": str(root),
            "reason": "its file system has not answered for 0.3 seconds",
        }
        assert len(askers()) == 1
    await until_it_answers(hasty)


async def until_it_answers(pulse: Pulse) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(Unavailable):
                return await pulse.feel("default")
            await asyncio.sleep(0.01)


async def test_who_comes_when_others_have_waited_in_vain_does_not_wait(
    hasty: Pulse, root: Path
) -> None:
    with silence(root):
        with pytest.raises(Unavailable):
            await hasty.feel("default")
        late = asyncio.ensure_future(hasty.feel("default"))
        await asyncio.sleep(0)
        assert late.done()
        with pytest.raises(Unavailable):
            await late
        await hasty.feel("gone")  # that one is elsewhere
    await until_it_answers(hasty)


async def test_a_caller_that_leaves_does_not_take_the_question_with_him(
    pulse: Pulse, root: Path
) -> None:
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
    pulse: Pulse, root: Path
) -> None:
    """Also one that is mounted there while the node runs."""
    await pulse.feel("default")
    with answering(root) as asked:
        pulse = Pulse(Storages([("default", str(root))]), fresh_seconds=60)
        for _ in range(3):
            await pulse.feel("default")
            assert not pulse.is_fresh("default")
        assert asked() >= 3
        pulse.close()


async def test_what_is_mounted_later_is_noticed(hasty: Pulse, root: Path) -> None:
    await hasty.feel("default")
    lookout = hasty._lookouts[str(root)]
    assert await lookout.thread.run(lookout.look)
    with answering(root):
        assert not await lookout.thread.run(lookout.look)
    assert await lookout.thread.run(lookout.look)
