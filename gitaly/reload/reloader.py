"""Reads the configuration again, and gives it to all parts of the node or to none."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from gitaly.config import Config, ConfigError, Problem, TOMLError, problems
from gitaly.errors import NodeError
from gitaly.observe.log import Logger
from gitaly.reload.changes import attainable, changed_keys, is_among, matching
from gitaly.reload.metrics import ReloadMetrics
from gitaly.reload.objections import objections
from gitaly.reload.taker import Step, Taker
from gitaly.tasks import background

Read = Callable[[], Config]  # raises ConfigError
REFUSED: Final = "configuration not reloaded: the node goes on with the one it has"


class Refused(ConfigError):
    """A configuration cannot take the place of the one in force; each text names its key."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__("; ".join(text.replace("\n", "; ") for text in texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a reload has ended."""

    at: float  # seconds since 1970
    is_accepted: bool
    text: str  # the keys that have changed, or why it was refused
    waiting: Sequence[str] = ()  # keys of the file that count after a restart


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    config: Config  # what will be in force
    steps: Sequence[Step]
    changed: Sequence[str]
    waiting: Sequence[str]  # keys of the file that count after a restart
    unknown: Sequence[str]
    known: frozenset[Problem]  # problems that come into force with it


class Reloader:
    """The configuration in force, and those who take another one.

    A reload reads, judges and prepares beside the loop, and changes nothing while it does. Only
    when all that can fail has been done do the steps follow, in one piece.
    """

    def __init__(
        self,
        config: Config,
        takers: Sequence[Taker],
        registry: CollectorRegistry,
        logger: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.last: Outcome | None = None
        self.keys = matching(pattern for taker in takers for pattern in taker.keys)
        self._takers = takers
        self._metrics = ReloadMetrics(registry, clock)
        self._clock = clock
        self._logger = logger
        self._known = frozenset(problems(config))

    @asynccontextmanager
    async def following(
        self,
        wanted: asyncio.Event,
        read: Read,
        announced: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> AsyncIterator[None]:
        """During the block, reload each time the event is set, and clear it.

        Wishes that come while a reload runs are one wish, and are met after it: what the file says
        last counts. `announced`: entered around each reload, for a supervisor who wants to know.
        """

        async def follow() -> None:
            while True:
                await wanted.wait()
                wanted.clear()
                with announced():
                    await self.reload(read)

        async with background(follow()):
            yield

    async def reload(self, read: Read) -> bool:
        """Read and apply a configuration, or log why not; whether it is in force now."""
        try:
            plan = await asyncio.to_thread(self._plan, read)
        except NodeError as error:
            where = f"line {error.line}: " if isinstance(error, TOMLError) else ""
            self._refuse(f"{where}{error.message}")
            return False
        except Exception as error:  # a bug must not cost more than this reload
            self._refuse(f"{type(error).__name__}: {error}", with_traceback=True)
            return False
        self._apply(plan)
        return True

    def _refuse(self, problems: str, *, with_traceback: bool = False) -> None:
        before = self.last.waiting if self.last else ()
        self.last = Outcome(at=self._clock(), is_accepted=False, text=problems, waiting=before)
        self._metrics.refused()
        tell = self._logger.exception if with_traceback else self._logger.error
        tell(REFUSED, problems=problems)

    def _plan(self, read: Read) -> _Plan:
        """All that can fail. Raises ConfigError, Refused."""
        wanted = read()
        running = self.config
        texts = list(objections(wanted, running, self._known, self.keys))
        config = attainable(running, wanted, self.keys)
        changed = list(changed_keys(running, config))
        steps, judged = [], {text.partition(".")[0] for text in texts}
        for taker in self._takers:
            if judged & {key.partition(".")[0] for key in taker.keys}:
                continue  # it would say the same in other words
            try:
                step = taker.prepare(config, running)
            except NodeError as error:
                texts.append(error.message)
                continue
            mine = matching(taker.keys)
            changed += step.contents
            if step.always or step.contents or any(is_among(key, mine) for key in changed):
                steps.append(step)
        if texts:
            raise Refused(texts)
        return _Plan(
            config=config,
            steps=steps,
            changed=changed,
            waiting=list(changed_keys(config, wanted)),
            unknown=wanted.origin.unknown_keys,
            known=frozenset(problems(config)),
        )

    def _apply(self, plan: _Plan) -> None:
        for step in plan.steps:
            step.commit()
        self.config = plan.config
        self._known = plan.known
        changed = ", ".join(plan.changed) or "nothing"
        self.last = Outcome(
            at=self._clock(), is_accepted=True, text=changed, waiting=tuple(plan.waiting)
        )
        self._metrics.applied(len(plan.waiting))
        fields: dict[str, object] = {"changed": changed}
        for step in plan.steps:
            fields.update(step.fields)
        if plan.unknown:
            fields["unknown_keys"] = ", ".join(plan.unknown)
        if plan.waiting:
            fields["needs_restart"] = ", ".join(plan.waiting)
            self._logger.warning("configuration reloaded, but not all of it", **fields)
        else:
            self._logger.info("configuration reloaded", **fields)
