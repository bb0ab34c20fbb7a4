"""What can take another configuration while it works."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from gitaly.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What puts a configuration into force. It was prepared so that it cannot fail, and it does
    not wait: all steps of a reload happen between two events of the loop."""

    commit: Callable[[], None]
    contents: Sequence[str] = ()  # keys whose files say something else although the keys do not
    always: bool = False  # needed also where no key of the taker has changed
    fields: Mapping[str, object] = field(default_factory=dict)  # for the line in the log


class Taker(Protocol):
    """One part of a node."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys that it takes: "logging.level"; with a star at the end all that begin so."""

    def prepare(self, config: Config, running: Config) -> Step:
        """Read and build all that is needed, and change nothing. May block: runs in a thread.

        `config` has what the node has been started with wherever nobody takes a key. Raises
        NodeError, whose text names the key, for what cannot be used.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """A part that needs no preparation."""

    keys: Sequence[str]
    adopt: Callable[[Config], None]

    def prepare(self, config: Config, _: Config) -> Step:
        return Step(commit=partial(self.adopt, config))
