"""Who looks after this process, as its environment says when it starts."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Self

from gitaly.supervision import inherited
from gitaly.supervision.birth import Birth
from gitaly.supervision.inherited import Inheritance
from gitaly.supervision.notify import Notifier
from gitaly.supervision.open_files import OpenFiles
from gitaly.supervision.predecessor import Predecessor
from gitaly.supervision.program import Program
from gitaly.supervision.switches import UPGRADES, is_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """For a process that is a node and nothing else."""

    program: Program
    notifier: Notifier
    sockets: Inheritance
    predecessor: Predecessor | None
    has_wrapper: bool  # SIGHUP means: be replaced

    @classmethod
    def begin(cls, environment: MutableMapping[str, str], pid: int) -> Self:
        """What the environment says, whose variables about it are removed: they are not for what
        the node starts. Raises BadInheritance, LostPredecessor."""
        predecessor = Predecessor.taken_from(environment)
        own = inherited.taken_from(environment, pid)
        notifier = Notifier.taken_from(environment, pid)
        return cls(
            program=Program.of_this_process(environment),
            notifier=notifier,
            sockets=Inheritance([*own, *(predecessor.sockets if predecessor else ())]),
            predecessor=predecessor,
            has_wrapper=is_on(environment, UPGRADES),
        )

    def birth(self, files: OpenFiles) -> Birth:
        """What the node needs of it."""
        return Birth(self.sockets, self.predecessor, files.inherited)

    def successor_program(self) -> Program:
        """The program for a process that takes this one's place."""
        return self.program.with_variables(self.notifier.inheritance)

    def failed(self, error: str) -> None:
        """This process does not get as far as serving."""
        if self.predecessor is not None:
            self.predecessor.failed(error)

    def close(self) -> None:
        """Let go of what nobody has taken."""
        self.sockets.close()
        if self.predecessor is not None:
            self.predecessor.close()
