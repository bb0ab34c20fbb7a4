"""Where threads and tasks are."""

import asyncio
import threading
from collections.abc import AsyncIterator

from gitaly.observe.stacks import (
    MOST_FRAMES,
    MOST_NAMES,
    dumped_stack,
    task_places,
    thread_places,
    thread_stack,
)
from gitaly.tasks import background

DUMP = """Stack (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 294 in accept
  File "/opt/venv/lib/python3.11/site-packages/gitaly/observe/serving.py", line 10 in _accept
Stack (most recent call first):
  File "/opt/venv/lib/python3.11/site-packages/gitaly/node.py", line 7 in <module>
  ...
"""


async def inner(never: asyncio.Event) -> None:
    await never.wait()


async def outer(never: asyncio.Event) -> None:
    await inner(never)


async def endless(depth: int, never: asyncio.Event) -> None:
    await (endless(depth - 1, never) if depth else never.wait())


async def pieces(never: asyncio.Event) -> AsyncIterator[int]:
    await never.wait()
    yield 1


async def following(never: asyncio.Event) -> None:
    async for _ in pieces(never):
        pass


async def test_tasks_at_the_same_place_are_told_once_down_to_what_they_wait_for() -> None:
    never = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outer(never), name=f"t{n:03}") for n in range(200)]
        await asyncio.sleep(0)
        [place] = [p for p in task_places(asyncio.get_running_loop()) if p.count == 200]
        for task in tasks:
            task.cancel()
    assert place.names == tuple(f"t{n:03}" for n in range(MOST_NAMES))
    assert [line.partition(" ")[2] for line in place.stack] == ["outer", "inner", "Event.wait"]


async def test_tasks_are_told_to_another_thread_while_the_loop_stands_still() -> None:
    never, loop = asyncio.Event(), asyncio.get_running_loop()
    found = []
    async with background(outer(never)):
        await asyncio.sleep(0)
        looking = threading.Thread(target=lambda: found.extend(task_places(loop)))
        looking.start()
        looking.join()  # and the loop with it
    assert any("inner" in line for place in found for line in place.stack)


async def test_a_stack_without_end_is_cut_and_a_generator_does_no_harm() -> None:
    never = asyncio.Event()
    async with background(endless(200, never)), background(following(never)):
        await asyncio.sleep(0)
        places = task_places(asyncio.get_running_loop())
    assert max(len(place.stack) for place in places) == MOST_FRAMES
    [walk] = [place for place in places if "following" in place.stack[0]]
    assert [line.partition(" ")[2] for line in walk.stack] == ["following", "pieces", "Event.wait"]


def test_where_a_thread_is() -> None:
    end = threading.Event()
    waiting = threading.Thread(target=end.wait)
    waiting.start()
    assert waiting.ident is not None
    stack = thread_stack(waiting.ident)
    end.set()
    waiting.join()
    assert any("Event.wait" in line for line in stack)
    assert thread_stack(-1) == ()


def test_threads_at_the_same_place_are_told_once() -> None:
    end = threading.Event()
    waiting = [threading.Thread(target=end.wait, name=f"w{n}") for n in range(3)]
    for thread in waiting:
        thread.start()
    places = thread_places()
    end.set()
    for thread in waiting:
        thread.join()
    [place] = [place for place in places if "w0" in place.names]
    assert (place.count, place.names) == (3, ("w0", "w1", "w2"))
    [here] = [place for place in places if "MainThread" in place.names]
    assert any("test_threads_at_the_same_place" in line for line in here.stack)


def test_the_main_thread_is_where_a_signal_met_it() -> None:
    places = thread_places(("gitaly/node.py:7 main",))
    [place] = [place for place in places if "MainThread" in place.names]
    assert place.stack == ("gitaly/node.py:7 main",)


def test_of_what_faulthandler_writes_the_first_stack_counts() -> None:
    assert dumped_stack(DUMP) == (
        "gitaly/observe/serving.py:10 _accept",
        "python3.11/socket.py:294 accept",
    )


def test_a_dump_that_was_cut_off_is_understood_as_far_as_it_goes() -> None:
    assert {len(dumped_stack(DUMP[:end])) for end in range(len(DUMP))} == {0, 1, 2}
    assert dumped_stack("") == ()
    assert dumped_stack("nonsense\n  File") == ()
