"""What git tells of its work as trace2 events: fields of the log, with Gitaly's names.

Source: git, Documentation/technical/api-trace2.txt; Gitaly, internal/git/trace2hooks.
"""

import os
import tempfile
from contextlib import suppress
from typing import Final

import msgspec

STATISTICS: Final = {
    "write_pack_file/wrote": "written_object_count",  # its name before git 2.41
    "written": "written_object_count",
    "written/delta": "written_object_delta_count",
    "reused": "reused_objects_count",
    "reused/delta": "reused_objects_delta_count",
    "pack-reused": "pack_reused_objects_count",
    "packs-reused": "pack_reused_packfiles_count",
    "loosen_unused_packed_objects/loosened": "loosened_unused_packed_objects",
    "stdin_packs_found": "stdin_packs_found",
    "stdin_packs_hints": "stdin_packs_hints",
}
STAGES: Final = {
    "enumerate-objects": "enumerate_objects_ms",
    "prepare-pack": "prepare_pack_ms",
    "write-pack-file": "write_pack_file_ms",
}
MOST_BYTES: Final = 1 << 20


class Event(msgspec.Struct):
    """One line, as far as it interests us."""

    event: str = ""
    category: str = ""
    label: str = ""
    key: str = ""
    value: object = None
    t_rel: float = 0.0  # seconds


DECODER: Final = msgspec.json.Decoder(Event)


class Trace:
    """A file in `directory` into which one git traces. Making, reading and removing it block."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.path = ""

    def make(self) -> None:
        """Raises OSError."""
        descriptor, self.path = tempfile.mkstemp(prefix="trace2-", dir=self._directory)
        os.close(descriptor)

    def environment(self, correlation_id: str) -> dict[str, str]:
        """What git must be told; nothing, if there is no file."""
        if not self.path:
            return {}
        found = {"GIT_TRACE2_EVENT": self.path, "GIT_TRACE2_BRIEF": "true"}
        return found | ({"GIT_TRACE2_PARENT_SID": correlation_id} if correlation_id else {})

    def take(self) -> dict[str, int]:
        """The fields, and no file any more."""
        if not self.path:
            return {}
        with open(self.path, "rb") as file:
            found = fields_of(file.read(MOST_BYTES))
        self.remove()
        return found

    def remove(self) -> None:
        """For who does not want to know."""
        path, self.path = self.path, ""
        if path:
            with suppress(OSError):
                os.unlink(path)


def fields_of(text: bytes) -> dict[str, int]:
    """Counts, and milliseconds of stages; lines that are no events are skipped."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        try:
            event = DECODER.decode(line)
        except msgspec.MsgspecError:
            continue
        if event.category != "pack-objects":
            continue
        if event.event == "data" and event.key in STATISTICS and str(event.value).isdigit():
            name, amount = STATISTICS[event.key], int(str(event.value))
        elif event.event == "region_leave" and event.label in STAGES:
            name, amount = STAGES[event.label], int(event.t_rel * 1000)
        else:
            continue
        name = f"pack_objects.{name}"
        found[name] = amount
    return found
