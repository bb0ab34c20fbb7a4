"""The calls that a node serves, read from the descriptors of the wire contract.

Everything that treats calls by kind (logging, metrics, limits, routing) asks here; no list of
calls is written down a second time.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.descriptor import (
    Descriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import gitaly._pb
from gitaly._pb import lint_pb2
from gitaly._pb.shared_pb2 import ObjectPool, Repository

# Praefect serves these two; a node is the client of the second.
NOT_SERVED: Final = frozenset({"gitaly.PraefectInfoService", "gitaly.RefTransaction"})
# Extensions are typed as plain descriptors by the generated stubs.
OP_TYPE: Final[Any] = lint_pb2.op_type
TARGET_REPOSITORY: Final[Any] = lint_pb2.target_repository
STORAGE: Final[Any] = lint_pb2.storage
KINDS: Final = ("unary", "server_stream", "client_stream", "bidi_stream")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Method:
    """One RPC: how it is called, what it does to data, and where its request names those data."""

    service: str  # "gitaly.RefService"
    name: str  # "RefExists"
    kind: str  # one of KINDS
    request_class: type[Message]
    response_class: type[Message]
    operation: str = "unknown"  # accessor, mutator, maintenance
    scope: str = "unknown"  # repository, storage, partition
    target: tuple[str, ...] = ()  # fields that lead to the target repository
    storage: tuple[str, ...] = ()  # fields that lead to the storage's name

    @property
    def path(self) -> str:
        """The name on the wire, "/gitaly.RefService/RefExists"."""
        return f"/{self.service}/{self.name}"

    @property
    def short(self) -> str:
        """The name for people, "RefService/RefExists"."""
        return f"{self.service.rpartition('.')[2]}/{self.name}"

    @property
    def has_client_stream(self) -> bool:
        """Whether the client sends any number of requests."""
        return self.kind in {"client_stream", "bidi_stream"}

    @property
    def has_server_stream(self) -> bool:
        """Whether the server sends any number of responses."""
        return self.kind in {"server_stream", "bidi_stream"}

    def target_repository(self, request: Message) -> Repository | None:
        """The repository that a request is about; None if the call has none or it is not set."""
        found = _follow(request, self.target)
        return found if isinstance(found, Repository) else None

    def storage_name(self, request: Message) -> str | None:
        """The storage that a storage-scoped request is about; None for other calls."""
        found = _follow(request, self.storage)
        return found if isinstance(found, str) else None

    def storage_in(self, request: Message) -> str | None:
        """The storage that a request touches, of whatever scope; None if it names none."""
        repository = self.target_repository(request)
        return repository.storage_name if repository is not None else self.storage_name(request)


def method_of(descriptor: MethodDescriptor) -> Method:
    """Describe one RPC."""
    streams = descriptor.server_streaming + 2 * descriptor.client_streaming
    operation = scope = "unknown"
    options = descriptor.GetOptions()
    if options.HasExtension(OP_TYPE):
        said: lint_pb2.OperationMsg = options.Extensions[OP_TYPE]
        operation = lint_pb2.OperationMsg.Operation.Name(said.op).lower()
        scope = lint_pb2.OperationMsg.Scope.Name(said.scope_level).lower()
    return Method(
        service=descriptor.containing_service.full_name,
        name=descriptor.name,
        kind=KINDS[streams],
        request_class=GetMessageClass(descriptor.input_type),
        response_class=GetMessageClass(descriptor.output_type),
        operation=operation,
        scope=scope,
        target=_annotated(descriptor.input_type, TARGET_REPOSITORY) or (),
        storage=_annotated(descriptor.input_type, STORAGE) or (),
    )


def node_services() -> Mapping[str, tuple[Method, ...]]:
    """Every service of the contract that a node serves, with its methods."""
    return MappingProxyType(
        {
            service.full_name: tuple(method_of(method) for method in service.methods)
            for service in _services()
            if service.full_name not in NOT_SERVED
        }
    )


def _services() -> Iterator[ServiceDescriptor]:
    for module in pkgutil.iter_modules(gitaly._pb.__path__, "gitaly._pb."):
        if not module.ispkg:
            file = importlib.import_module(module.name).DESCRIPTOR
            yield from file.services_by_name.values()


def _annotated(
    message: Descriptor, option: Any, seen: frozenset[str] = frozenset()
) -> tuple[str, ...] | None:
    """The fields that lead to the first field with an annotation, searched depth first."""
    for field in message.fields:
        if field.GetOptions().Extensions[option]:
            pool = field.message_type is not None and field.message_type == ObjectPool.DESCRIPTOR
            return (field.name, "repository") if pool else (field.name,)
        if field.message_type is not None and field.message_type.full_name not in seen:
            below = _annotated(field.message_type, option, seen | {message.full_name})
            if below is not None:
                return (field.name, *below)
    return None


def _follow(message: Message, fields: tuple[str, ...]) -> object:
    """The value at the end of a path of fields; None where a message on the way is not set."""
    value: object = message if fields else None
    for field in fields:
        if not isinstance(value, Message):
            return None
        if value.DESCRIPTOR.fields_by_name[field].message_type and not value.HasField(field):
            return None
        value = getattr(value, field)
    return value
