"""GITALY_HOOKS_PAYLOAD: what the node tells the hooks of a git child, by way of its environment.

Base64 of a JSON object in the reference's form, which its own hook program reads as well.
Source: Gitaly, internal/git/gitcmd/hooks_payload.go.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Final

import msgspec

from gitaly._pb.shared_pb2 import Repository
from gitaly.errors import NodeError
from gitaly.transactions import Transaction

VARIABLE: Final = "GITALY_HOOKS_PAYLOAD"


class BadPayload(NodeError):
    """The variable is missing, or does not hold what a node puts there."""


class Requested(IntFlag):
    """Hooks that shall do something; the others end at once."""

    REFERENCE_TRANSACTION = 1
    UPDATE = 2
    PRE_RECEIVE = 4
    POST_RECEIVE = 8
    PACK_OBJECTS = 16
    PROC_RECEIVE = 32


RECEIVE: Final = (
    Requested.REFERENCE_TRANSACTION
    | Requested.UPDATE
    | Requested.PRE_RECEIVE
    | Requested.POST_RECEIVE
)
EVERY: Final = RECEIVE | Requested.PACK_OBJECTS


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDetails:
    """On whose behalf git runs."""

    username: str = ""
    userid: str = ""  # "user-1", "key-1", "username-x"
    protocol: str = ""  # "ssh", "http", "web"
    remote_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What hooks of one git child must know."""

    requested_hooks: Requested
    repository: Repository
    object_format: str = "sha1"
    runtime_dir: str = ""
    internal_socket: str = ""  # of the gRPC services, for the reference's hook program
    internal_socket_token: str = field(default="", repr=False)
    transaction: Transaction | None = None  # in which Praefect wants this node's votes
    user_details: UserDetails | None = None
    client_context: bytes = b""  # the value of gitaly-client-context-bin
    feature_flags: tuple[tuple[str, bool, bool], ...] = ()  # name, on by default, enabled
    log_fields: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> str:
        """The value of the variable."""
        found: dict[str, object] = {"requested_hooks": int(self.requested_hooks)}
        if self.feature_flags:
            found["feature_flags_with_value"] = [
                {"flag": {"name": name, "on_by_default": default}, "enabled": enabled}
                for name, default, enabled in self.feature_flags
            ]
        found |= {
            "repository": msgspec.json.encode(_repository_fields(self.repository)).decode(),
            "object_format": self.object_format,
            "runtime_dir": self.runtime_dir,
            "internal_socket": self.internal_socket,
            "internal_socket_token": self.internal_socket_token,
            "transaction": _transaction_fields(self.transaction),
            "user_details": _user_fields(self.user_details),
        }
        if self.client_context:
            found["gitaly_client_context"] = base64.b64encode(self.client_context).decode()
        found["LogFields"] = dict(self.log_fields)
        return base64.b64encode(msgspec.json.encode(found)).decode()

    @classmethod
    def decode(cls, value: str | bytes | None) -> "Payload":
        """What a variable holds. Raises BadPayload."""
        if not value:
            raise BadPayload("no hooks payload found in environment")
        try:
            found = msgspec.json.decode(base64.b64decode(value, validate=True), type=_Wire)
            repository = msgspec.json.decode(found.repository, type=_WireRepository)
            context = base64.b64decode(found.gitaly_client_context, validate=True)
        except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise BadPayload(f"the hooks payload cannot be read: {error}") from error
        user = found.user_details
        return cls(
            requested_hooks=Requested(found.requested_hooks & ALL_BITS) or Requested(OLD_DEFAULT),
            repository=Repository(
                storage_name=repository.storageName,
                relative_path=repository.relativePath,
                git_object_directory=repository.gitObjectDirectory,
                git_alternate_object_directories=repository.gitAlternateObjectDirectories,
                gl_repository=repository.glRepository,
                gl_project_path=repository.glProjectPath,
            ),
            object_format=found.object_format,
            runtime_dir=found.runtime_dir,
            internal_socket=found.internal_socket,
            internal_socket_token=found.internal_socket_token,
            transaction=found.transaction,
            user_details=UserDetails(**msgspec.structs.asdict(user)) if user else None,
            client_context=context,
            feature_flags=tuple(
                (one.flag.name, one.flag.on_by_default, one.enabled)
                for one in found.feature_flags_with_value or ()
            ),
            log_fields={key: str(value) for key, value in (found.LogFields or {}).items()},
        )


OLD_DEFAULT: Final = 31  # what a payload without bits asks for
ALL_BITS: Final = 63


class _WireRepository(msgspec.Struct):
    storageName: str = ""  # noqa: N815 - as protobuf's JSON has it; so below
    relativePath: str = ""  # noqa: N815
    gitObjectDirectory: str = ""  # noqa: N815
    gitAlternateObjectDirectories: list[str] = []  # noqa: N815 - msgspec copies it
    glRepository: str = ""  # noqa: N815
    glProjectPath: str = ""  # noqa: N815


class _WireUser(msgspec.Struct):
    username: str = ""
    userid: str = ""
    protocol: str = ""
    remote_ip: str = ""


class _WireFlag(msgspec.Struct):
    name: str = ""
    on_by_default: bool = False


class _WireFlagValue(msgspec.Struct):
    flag: _WireFlag
    enabled: bool = False


class _Wire(msgspec.Struct):
    requested_hooks: int = 0
    repository: str = "{}"
    object_format: str = ""
    runtime_dir: str = ""
    internal_socket: str = ""
    internal_socket_token: str = ""
    transaction: Transaction | None = None
    user_details: _WireUser | None = None
    gitaly_client_context: str = ""
    feature_flags_with_value: list[_WireFlagValue] | None = None
    LogFields: dict[str, Any] | None = None


def _repository_fields(repository: Repository) -> dict[str, object]:
    """As protobuf's JSON has it: what is empty is left out."""
    found: dict[str, object] = {
        "storageName": repository.storage_name,
        "relativePath": repository.relative_path,
        "gitObjectDirectory": repository.git_object_directory,
        "gitAlternateObjectDirectories": list(repository.git_alternate_object_directories),
        "glRepository": repository.gl_repository,
        "glProjectPath": repository.gl_project_path,
    }
    return {key: value for key, value in found.items() if value}


def _transaction_fields(details: Transaction | None) -> dict[str, object] | None:
    if details is None:
        return None
    backchannel = {"backchannel_id": details.backchannel_id} if details.backchannel_id else {}
    return {**backchannel, "id": details.id, "node": details.node, "primary": details.primary}


def _user_fields(details: UserDetails | None) -> dict[str, str] | None:
    if details is None:
        return None
    return {
        "username": details.username,
        "userid": details.userid,
        "protocol": details.protocol,
        "remote_ip": details.remote_ip,
    }
