"""Clients that come all the time, while a node is replaced."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from tests.e2e.clients import Way
from tests.faults.nodes import HEALTH, ask_health
from tests.supervision.service import Service


@dataclass
class Tally:
    """What has become of calls."""

    good: int = 0
    errors: list[str] = field(default_factory=list)


@contextmanager
def repeated(call: Callable[[], object]) -> Iterator[Tally]:
    """Make a call again and again for the length of the block, and at least once in it."""
    tally, is_over = Tally(), threading.Event()

    def work() -> None:
        while not is_over.is_set():
            try:
                assert call() is not False
                tally.good += 1
            except Exception as error:  # whatever it is, the test shall show it
                tally.errors.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield tally
    finally:
        is_over.set()
        thread.join()


def new_connection(target: str) -> Callable[[], object]:
    """A call on a connection of its own."""
    return lambda: ask_health(target)


@contextmanager
def kept_connection(target: str) -> Iterator[Callable[[], object]]:
    """Calls on one connection, as long as the node lets it be one."""
    with grpc.insecure_channel(target) as channel:
        ask: Any = channel.unary_unary(HEALTH)  # bytes in, bytes out: untyped by its stubs
        yield lambda: ask(b"", timeout=20) == b"\x08\x01"


def whole_program(node: Service, listener: str, repository: str) -> Callable[[], object]:
    """A git, with all that it does to reach a node."""
    way = Way(node=node, repository=repository, listener=listener)
    return lambda: way.git("ls-remote", "--exit-code", way.url)
