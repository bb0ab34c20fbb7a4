"""What a git child gets on its way so that its hooks find back to the node."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gitaly._pb.shared_pb2 import Repository
from gitaly.git import Hooks
from gitaly.hooks.installation import Installation
from gitaly.hooks.payload import (
    VARIABLE,
    Payload,
    Requested,
    UserDetails,
)
from gitaly.transactions import Transaction


@dataclass(slots=True, kw_only=True)
class Outfit:
    """Everything about hooks that is the same for all git children of a node."""

    installation: Installation
    runtime_dir: str
    internal_socket: str
    token: str = field(repr=False)  # the secret of the node's tokens; may change

    def environment(
        self,
        requested: Requested,
        repository: Repository,
        object_format: str,
        *,
        user: UserDetails | None = None,
        transaction: Transaction | None = None,
        client_context: bytes = b"",
    ) -> Mapping[str, str]:
        """Variables for a git child whose requested hooks shall do something."""
        payload = Payload(
            requested_hooks=requested,
            repository=repository,
            object_format=object_format,
            runtime_dir=self.runtime_dir,
            internal_socket=self.internal_socket,
            internal_socket_token=self.token,
            transaction=transaction,
            user_details=user,
            client_context=client_context,
        )
        return {VARIABLE: payload.encode()}

    def hooks(self, environment: Mapping[str, str]) -> Hooks:
        """How `Git.run` is told that hooks run."""
        return Hooks(directory=self.installation.hooks_directory, env=environment)

    def some_hooks(self, requested: Requested, environment: Mapping[str, str]) -> Hooks:
        """How `Git.run` is told that these hooks run, and no process is started for others."""
        return Hooks(directory=self.installation.directory_for(requested), env=environment)
