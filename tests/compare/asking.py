"""Asks two nodes the same, and shows where their answers part."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf import text_format
from google.protobuf.message import Message

from tests.compare.questions import Question

SECONDS: Final = 60
LINES: Final = 20  # of a difference that are shown
COLUMNS: Final = 200  # of such a line
LARGE: Final = [("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True)
class Difference:
    """A question, and how the answers differ: `-` theirs, `+` ours."""

    question: Question
    lines: list[str]

    def __str__(self) -> str:
        more = len(self.lines) - LINES
        rest = [f"… {more} lines more"] if more > 0 else []
        lines = [line[:COLUMNS] for line in self.lines[:LINES]]
        return "\n".join([str(self.question), *lines, *rest])


def differences(reference: str, ours: str, questions: Iterable[Question]) -> Iterator[Difference]:
    """Addresses are those of gRPC. Messages, their order, codes and texts count.

    Where bulk data and lists are cut does not count: that depends on how fast git writes, and on
    what a message costs.
    """
    with (
        grpc.insecure_channel(reference, LARGE) as theirs,
        grpc.insecure_channel(ours, LARGE) as mine,
    ):
        for question in questions:
            before, after = answer(theirs, question), answer(mine, question)
            if before != after:
                lines = difflib.unified_diff(before, after, "reference", "ours", n=1, lineterm="")
                yield Difference(question, list(lines))


def answer(channel: grpc.Channel, question: Question) -> list[str]:
    """The lines of the whole answer, its end last."""
    method = question.method
    ask: Any = channel.stream_stream(  # whatever the kind is: they look the same on the wire
        method.path, response_deserializer=method.response_class.FromString
    )
    call = ask(iter([question.request.SerializeToString()]), timeout=SECONDS)
    messages: list[Any] = []
    try:
        for message in call:
            data = _bulk(message)
            if messages and data and getattr(messages[-1], data):
                setattr(messages[-1], data, getattr(messages[-1], data) + getattr(message, data))
            elif messages and _is_list(messages[-1]):
                messages[-1].MergeFrom(message)
            else:
                messages.append(message)
    except grpc.RpcError:
        pass  # the code says it
    lines: list[str] = []
    for number, message in enumerate(messages):
        lines.append(f"message {number}")
        lines += text_format.MessageToString(message).splitlines()
    return [*lines, f"{call.code().name}: {call.details()}"]


def _is_list(message: Message) -> bool:
    """Whether there are lists in it and nothing else: what follows goes on with them."""
    fields = message.ListFields()
    return bool(fields) and all(field.is_repeated for field, _ in fields)


def _bulk(message: Message) -> str:
    """The field of a message that has bytes in it and nothing else; or nothing."""
    fields = message.ListFields()
    return fields[0][0].name if len(fields) == 1 and isinstance(fields[0][1], bytes) else ""
