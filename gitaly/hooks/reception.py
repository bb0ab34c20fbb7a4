"""Where hook programs of our git children come: a unix socket that only our user reaches.

A socket of its own, not the internal one of the gRPC services: descriptors come with the first
bytes, and a reader that is not prepared for them would lose them.
"""

import asyncio
import contextlib
import hmac
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

from gitaly.errors import NodeError
from gitaly.hooks import wire
from gitaly.hooks.payload import Payload, Requested
from gitaly.hooks.session import HookGone, HookRun, Session
from gitaly.observe.log import Logger
from gitaly.transport.accepting import Accepting
from gitaly.transport.listening import listen_on_new_path

FAILED_TEXT: Final = b"error executing git hook\n"
GREETING_SECONDS: Final = 30
PACK_OBJECTS: Final = "pack-objects"

# By the name of the hook. A NodeError is a hook that failed: its text is for the log alone.
HookHandler = Callable[[HookRun, Payload], Awaitable[int]]  # the exit status
BITS: Final[Mapping[str, Requested]] = {
    "reference-transaction": Requested.REFERENCE_TRANSACTION,
    "update": Requested.UPDATE,
    "pre-receive": Requested.PRE_RECEIVE,
    "post-receive": Requested.POST_RECEIVE,
    "proc-receive": Requested.PROC_RECEIVE,
    PACK_OBJECTS: Requested.PACK_OBJECTS,
}


class WrongCall(NodeError):
    """A hook program was called in a way that has no meaning."""


class HookReception:
    """Listens for hook programs and lets the handler of each hook decide how it ends."""

    def __init__(
        self, path: str, *, token: str, handlers: Mapping[str, HookHandler], logger: Logger
    ) -> None:
        """`token`: what payloads must hold. `handlers`: by the names of BITS."""
        self.path = path
        self._tokens = [_bytes(token)]
        self._handlers = handlers
        self._logger = logger
        self._accepting: Accepting | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    def adopt(self, token: str) -> None:
        """Payloads may hold this one too. Those of pushes under way hold one from before."""
        if _bytes(token) not in self._tokens:
            self._tokens.append(_bytes(token))

    async def __aenter__(self) -> Self:
        listening = listen_on_new_path(self.path)
        self._accepting = Accepting(listening, self._begin, self._cannot_accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._accepting is not None
        self._accepting.close()
        self._accepting = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        for task in list(self._sessions):
            task.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions)

    def _begin(self, accepted: socket.socket, _: object) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Session(accepted)))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    def _cannot_accept(self, error: OSError) -> None:
        self._logger.error("cannot accept a hook program", error=str(error))

    async def _serve(self, session: Session) -> None:
        run = None
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                run = await session.greeted()
            status = await self._status(run)
            await session.end(status)
        except wire.HookProtocolError as error:
            self._logger.error("hook failed", error=error.message)
        except (HookGone, TimeoutError):
            return
        finally:
            session.drop()
            if run is not None:
                run.close()

    async def _status(self, run: HookRun) -> int:
        """How the program shall end. Raises HookGone."""
        try:
            return await self._handle(run)
        except HookGone:
            raise
        except NodeError as error:
            self._logger.error("hook failed", error=error.message, **error.metadata)
        except Exception as error:
            self._logger.exception("hook failed in a way nobody foresaw", error=str(error))
        await run.write_stderr(FAILED_TEXT)
        return 1

    async def _handle(self, run: HookRun) -> int:
        hook = _hook_of(run)
        payload = run.payload()
        given = _bytes(payload.internal_socket_token)
        if not any(hmac.compare_digest(given, token) for token in self._tokens):
            raise WrongCall("a hook program with a wrong token")
        if not payload.requested_hooks & BITS[hook]:
            return 0
        handler = self._handlers.get(hook)
        if handler is None:
            raise WrongCall(f"hook {hook} is not served by this node")
        return await handler(run, payload)


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogateescape")


def _hook_of(run: HookRun) -> str:
    """The hook that a program was called as. Raises WrongCall.

    Under its own name the program stands for git, which it is to run in its own way.
    """
    if run.program != b"gitaly-hooks":
        name = run.program.decode(errors="replace")
        if name not in BITS or name == PACK_OBJECTS:
            raise WrongCall(f"subcommand name invalid: {name!r}")
        return name
    called = run.arguments[0] if run.arguments else b""
    if called != b"git":
        raise WrongCall(f"subcommand name invalid: {called.decode(errors='replace')!r}")
    return PACK_OBJECTS
