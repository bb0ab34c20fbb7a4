"""What SSH and HTTP pushes have in common on the gRPC side."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gitaly._pb.smarthttp_pb2 import PostReceivePackRequest
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest
from gitaly.errors import NodeError
from gitaly.git import NO_HOOKS, PIPE, Child, Git, Hooks
from gitaly.git.stdio import Target
from gitaly.git.transfer import started
from gitaly.hooks import Outfit, Requested, UserDetails
from gitaly.hooks.manager import HookManager
from gitaly.rpc import Call
from gitaly.services.fetches import GitProtocol, config_options
from gitaly.services.hook_sessions import Abandonment
from gitaly.services.voters import Voters
from gitaly.storage import Repository
from gitaly.transactions import Transaction

CLIENT_CONTEXT = "gitaly-client-context-bin"


class Pushes:
    """Starts git receive-pack with the hooks that can matter for a push."""

    def __init__(
        self,
        git: Git,
        protocol: GitProtocol,
        *,
        manager: HookManager,
        outfit: Outfit,
        abandonment: Abandonment,
        voters: Voters,
    ) -> None:
        self._git = git
        self._protocol = protocol
        self._manager = manager
        self._outfit = outfit
        self._abandonment = abandonment
        self._voters = voters

    @asynccontextmanager
    async def receive_pack(
        self,
        repository: Repository,
        request: SSHReceivePackRequest | PostReceivePackRequest,
        call: Call,
        *,
        protocol: str,
        words: str,
        failed: type[NodeError],
        flags: Sequence[str] = (),
        stderr: Target | None = None,
    ) -> AsyncIterator[Child]:
        """A receive-pack for the length of the block, as the first request of a push wants it.

        `protocol`: how the pusher came, "ssh" or "http". Where it cannot be started as asked:
        `failed`, with `words` in front of the reason. A block that is left early makes the hooks
        refuse, so that git removes its quarantine. After the block, if git is content, the push
        is concluded in its transaction. Raises Aborted if the nodes differ.
        """
        voter = self._voters.of(call)
        config = config_options(request.git_config_options, words, bad_key=failed)
        hooks = await self._hooks(repository, request, call, protocol, voter.transaction)
        with self._abandonment.push() as (variables, abandoned):
            run = self._git.run(
                "receive-pack",
                repository=repository,
                config=[*config, *self._manager.receive_config(repository)],
                env={**self._protocol.environment(request.git_protocol, call), **variables},
                flags=flags,
                args=[repository.path],
                hooks=hooks,
                stdin=PIPE,
                stderr=stderr,
                hangs_up=True,
            )
            async with started(run, words, failed) as child:
                try:
                    yield child
                finally:
                    if child.exit is None:
                        abandoned.set()
                if child.exit:
                    await voter.conclude()

    async def _hooks(
        self,
        repository: Repository,
        request: SSHReceivePackRequest | PostReceivePackRequest,
        call: Call,
        protocol: str,
        transaction: Transaction | None,
    ) -> Hooks:
        wanted = await self._manager.wanted(repository, votes=transaction is not None)
        if wanted == Requested(0):
            return NO_HOOKS
        environment = self._outfit.environment(
            wanted,
            request.repository,
            self._git.formats.of(repository.path).object_format,
            user=UserDetails(
                userid=request.gl_id,
                username=request.gl_username,
                protocol=protocol,
                remote_ip=call.single("remote_ip"),
            ),
            transaction=transaction,
            client_context=_client_context(call),
        )
        return self._outfit.some_hooks(wanted, environment)


def _client_context(call: Call) -> bytes:
    for key, value in call.all_metadata:
        if key == CLIENT_CONTEXT and isinstance(value, bytes):
            return value
    return b""
