"""Many commands at once, some cancelled, some killed, spawners too: nothing is left of any."""

import asyncio
import os
import random
import signal

import pytest

from gitaly.cgroups import Resources
from gitaly.errors import NodeError
from tests.cgroups.conftest import Opened, Place

COMMANDS = int(os.environ.get("GITALY_SOAK_COMMANDS", "400"))  # 5000 take some minutes
AT_ONCE = 12
ENV = {"PATH": os.environ["PATH"]}
SCRIPTS = ("exit 0", "exit 3", "sleep 0.05", "sleep 60", "sleep 60 & exit 0", "yes | head -c 99999")


async def test_nothing_is_left_of_many_commands(opened: Opened) -> None:
    chance = random.Random(18)
    async with opened(count=5, repository=Resources(memory_bytes=64 << 20), most=6) as place:
        left = iter(range(COMMANDS))

        async def work() -> None:
            for _ in left:
                await one(place, chance)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(work())
        assert place.registry.get_sample_value("gitaly_spawn_queued") == 0
    # The fixture sees that no process, no group and no descriptor is left.


async def one(place: Place, chance: random.Random) -> None:
    argv = ["/bin/sh", "-c", chance.choice(SCRIPTS)]
    key = f"default/{chance.randrange(9)}.git"
    try:
        async with asyncio.timeout(chance.choice((0.0, 0.002, 0.02, 0.2))):
            async with place.processes.run(argv, ENV, cmd="sh", placement=key) as child:
                match chance.randrange(8):
                    case 0:
                        child.signal_group(signal.SIGKILL)
                    case 1:
                        return
                    case 2 if chance.random() < 0.2:
                        os.kill(chance.choice(place.spawner.pids), signal.SIGKILL)
                await child.wait()
    except (TimeoutError, NodeError):
        return
    except ProcessLookupError:
        pytest.fail("a spawner was listed that is gone")
