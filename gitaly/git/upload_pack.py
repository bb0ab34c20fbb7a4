"""git upload-pack for a client on a sidechannel, over SSH and over HTTP."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypedDict

from gitaly.errors import Cancelled, DeadlineExceeded, FailedPrecondition, Internal
from gitaly.git.command import Git
from gitaly.git.exit_status import Exit
from gitaly.git.inner_pipes import enlarge_inner_pipes
from gitaly.git.last_words import LastWords, explain_on_band
from gitaly.git.paths import RepositoryPaths
from gitaly.git.process import Child
from gitaly.git.quoting import go_quoted
from gitaly.git.spawner import StoppedByLimit
from gitaly.git.stdio import PIPE
from gitaly.git.transfer import FEW_BYTES, Sink, feeding, pump, pump_band, started
from gitaly.tasks import background
from gitaly.transport import sideband
from gitaly.transport.negotiation import DONE, Negotiation, NegotiationParser, PacketWatcher

# Of its output. All users but root have 64 MiB of pipes: where they are used up, new ones are tiny.
PIPE_BYTES: Final = 512 * 1024
HUNG_UP: Final = b"fatal: the remote end hung up unexpectedly\n"


class Peer(Sink, Protocol):
    """The client: a sink that also sends."""

    def input(self) -> AsyncIterator[memoryview]:
        """What git shall read."""
        ...


class FetchOptions(TypedDict):
    """Options of `Git.run` that every upload-pack has."""

    repository: RepositoryPaths
    config: Sequence[tuple[str, str]]
    env: Mapping[str, str]
    args: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Fetch:
    """One fetch: what is asked for, and what became of it."""

    repository: RepositoryPaths
    config: Sequence[tuple[str, str]] = ()
    env: Mapping[str, str] = field(default_factory=dict)  # GIT_PROTOCOL
    negotiation: Negotiation = field(default_factory=Negotiation)
    is_parsed: bool = False  # whether `negotiation` is all that was said
    request_digest: str = ""  # SHA-1 of the client's bytes, hex
    response_bytes: int = 0
    # Why there is no pack, if somebody else ran pack-objects for it. Counts only if git failed.
    stopped: StoppedByLimit | None = None

    def options(self) -> FetchOptions:
        """What git is told."""
        return {
            "repository": self.repository,
            "config": self.config,
            "env": self.env,
            "args": [self.repository.path],
        }


class NegotiationLimit:
    """The time in which a client must have said what it wants."""

    def __init__(self, last_words: bytes, seconds: float | None) -> None:
        self.is_over = False
        self.watcher = PacketWatcher(last_words)
        self._seconds = seconds  # None: no limit

    @contextmanager
    def ticking(self, stop: Callable[[], object]) -> Iterator[None]:
        """A block for the length of which the clock ticks; `stop` is called when time is over."""
        if self._seconds is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self._seconds, self._check, stop)
        try:
            yield
        finally:
            timer.cancel()

    def _check(self, stop: Callable[[], object]) -> None:
        if not self.watcher.is_finished:
            self.is_over = True
            stop()


async def serve_stateful(
    git: Git, fetch: Fetch, peer: Peer, negotiation_seconds: float | None
) -> None:
    """A fetch over SSH: output in side-bands, errors on band 2, negotiation within a time.

    Raises Internal, Cancelled (the client hung up), DeadlineExceeded or StoppedByLimit.
    """
    limit, parser = NegotiationLimit(DONE, negotiation_seconds), NegotiationParser()
    run = git.run("upload-pack", stdin=PIPE, stderr=PIPE, **fetch.options())
    try:
        async with (
            started(run, "running upload-pack: starting command", Internal) as child,
            feeding(child, peer.input(), (parser.feed, limit.watcher.feed)),
            background(_pump_bands(child, peer)) as pumping,
        ):
            # The pump is stopped, and not only git: it may be waiting for the client to read.
            with limit.ticking(pumping.cancel):
                await asyncio.wait([pumping])
            if pumping.cancelled():
                judge_negotiation(limit, "upload-pack")
            fetch.response_bytes = pumping.result()
            ended = await child.wait()
        _judge_pack(fetch, ended)
    except ConnectionError as error:
        raise Cancelled("running upload-pack: user canceled the request") from error
    except StoppedByLimit as error:
        explain_on_band(peer, error)
        raise
    finally:
        _note(fetch, parser)
    if ended:
        return
    if child.error_text == HUNG_UP:
        raise Cancelled("running upload-pack: user canceled the request")
    raise Internal(f"running upload-pack: cmd wait: {ended}, stderr: {go_quoted(child.error_text)}")


async def serve_stateless(git: Git, fetch: Fetch, peer: Peer) -> None:
    """One request of a fetch over HTTP: output as it is.

    Raises FailedPrecondition or StoppedByLimit.
    """
    parser, digest = NegotiationParser(), hashlib.sha1(usedforsecurity=False)
    output = LastWords(peer)
    run = git.run("upload-pack", stdin=PIPE, flags=["--stateless-rpc"], **fetch.options())
    try:
        async with (
            started(run, "running upload-pack: spawning upload-pack", FailedPrecondition) as child,
            feeding(child, peer.input(), (parser.feed, digest.update)),
        ):
            assert child.stdout is not None
            child.stdout.enlarge(PIPE_BYTES)
            fetch.response_bytes = await pump(
                child.stdout, output, in_bulk=partial(enlarge_inner_pipes, child.pid)
            )
            ended = await child.wait()
        _judge_pack(fetch, ended)
        output.release()
    except ConnectionError as error:
        raise FailedPrecondition(
            f"running upload-pack: copying stdout from upload-pack: {error}"
        ) from error
    except StoppedByLimit as error:
        output.explain(error)
        raise
    finally:
        _note(fetch, parser)
        fetch.request_digest = digest.hexdigest()
    # A shallow clone ends its first request early, and git calls that an error.
    if not ended and not parser.saw_deepen:
        raise FailedPrecondition(
            f"running upload-pack: waiting for upload-pack: {ended}",
            stderr=child.error_text.decode(errors="replace"),
        )


def judge_negotiation(limit: NegotiationLimit, name: str) -> None:
    """Raise DeadlineExceeded if the client took too long, in the reference's words."""
    if limit.is_over:
        raise DeadlineExceeded(f"running {name}: waiting for negotiation: context canceled")


def _judge_pack(fetch: Fetch, ended: Exit) -> None:
    if not ended and fetch.stopped is not None:
        raise fetch.stopped


async def _pump_bands(child: Child, peer: Peer) -> int:
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.enlarge(PIPE_BYTES)
    errors = pump_band(child.stderr, peer, sideband.STDERR, child.heard, FEW_BYTES)
    async with background(errors) as err:
        more = partial(enlarge_inner_pipes, child.pid)
        moved = await pump_band(child.stdout, peer, sideband.STDOUT, in_bulk=more)
        await err
        return moved


def _note(fetch: Fetch, parser: NegotiationParser) -> None:
    parser.at_end()
    fetch.negotiation = parser.result
    fetch.is_parsed = parser.error is None
