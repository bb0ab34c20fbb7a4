"""What SSH and HTTP pushes have in common on the gRPC side."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from gitaly._pb.smarthttp_pb2 import PostReceivePackRequest
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest
from gitaly.errors import FailedPrecondition, NodeError
from gitaly.git import NO_HOOKS, PIPE, Child, Git, RepositoryPaths
from gitaly.git.stdio import Target
from gitaly.git.transfer import started
from gitaly.rpc import Call
from gitaly.services.fetches import GitProtocol, config_options
from gitaly.transactions import METADATA_KEY


class Pushes:
    """Starts git receive-pack, but never for a push that nobody has checked.

    A node without `[gitlab]` is on its own, and accepts pushes of whoever has a token. One with
    `[gitlab]` needs hooks, which this version has not.
    """

    def __init__(self, git: Git, protocol: GitProtocol, *, is_standalone: bool) -> None:
        self._git = git
        self._protocol = protocol
        self._is_standalone = is_standalone

    def receive_pack(
        self,
        repository: RepositoryPaths,
        request: SSHReceivePackRequest | PostReceivePackRequest,
        call: Call,
        *,
        words: str,
        failed: type[NodeError],
        flags: Sequence[str] = (),
        stderr: Target | None = None,
    ) -> AbstractAsyncContextManager[Child]:
        """A receive-pack for the length of the block, as the first request of a push wants it.

        Where it cannot be started as asked: `failed`, with `words` in front of the reason.
        Raises FailedPrecondition if this node accepts no pushes.
        """
        if not self._is_standalone:
            raise FailedPrecondition("hooks are not available in this version")
        if METADATA_KEY in call.metadata:
            raise FailedPrecondition("votes on pushes are not available in this version")
        run = self._git.run(
            "receive-pack",
            repository=repository,
            config=config_options(request.git_config_options, words, bad_key=failed),
            env=self._protocol.environment(request.git_protocol, call),
            flags=flags,
            args=[repository.path],
            hooks=NO_HOOKS,
            stdin=PIPE,
            stderr=stderr,
            hangs_up=True,
        )
        return started(run, words, failed)
