"""What GitLab is asked, in the reference's JSON and headers. No I/O.

Source: Gitaly, internal/gitlab/http_client.go and internal/gitlab/client/gitlabnet.go.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gitaly.git import go_quoted

_NUMBER: Final = re.compile(r"[0-9]+", re.ASCII)
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_FORMS: Final = (("username-", "username"), ("key-", "key_id"), ("user-", "user_id"))


class BadGlId(ValueError):
    """A `gl_id` in none of GitLab's forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf GitLab is asked."""

    correlation_id: str = ""
    remote_ip: str = ""  # empty: not known
    client_context: bytes = b""  # opaque, from the client to GitLab


def identity(gl_id: str) -> dict[str, str]:
    """The key by which GitLab knows the user of a `gl_id`. Raises BadGlId."""
    for prefix, key in _FORMS:
        value = gl_id.removeprefix(prefix)
        if value != gl_id and (key == "username" or _NUMBER.fullmatch(value)):
            return {key: value} if value else {}
    raise BadGlId(f"setting gl_id: gl_id={go_quoted(gl_id)} is invalid")


def text(data: bytes) -> str:
    """As Go's JSON has it: each byte that is not UTF-8 is a replacement character."""
    return _NOT_UTF8.sub("\ufffd", data.decode("utf-8", "surrogateescape"))


def allowed_body(
    *,
    gl_id: str,
    gl_repository: str,
    project: str,
    relative_path: str,
    protocol: str,
    changes: bytes,
    object_directory: str,
    alternate_object_directories: Sequence[str] | None,
    push_options: Sequence[str],
    client_context: bytes,
) -> bytes:
    """Whether a push is allowed. `env` is JSON in JSON; members without a value are left out.

    Raises BadGlId.
    """
    env = {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE": alternate_object_directories,
        "GIT_OBJECT_DIRECTORY_RELATIVE": object_directory,
    }
    members = {
        "action": "git-receive-pack",
        "gl_repository": gl_repository,
        "project": project.replace("'", ""),
        "changes": text(changes),
        "protocol": protocol,
        "relative_path": relative_path,
        "env": _json(env).decode(),
        **identity(gl_id),
        "push_options": _texts(push_options),
        "gitaly_client_context_bin": _binary(client_context),
    }
    return _json({name: value for name, value in members.items() if value})


def pre_receive_body(gl_repository: str) -> bytes:
    """That a push has begun."""
    return _json({"gl_repository": gl_repository})


def post_receive_body(
    *,
    gl_id: str,
    gl_repository: str,
    changes: bytes,
    push_options: Sequence[str],
    client_context: bytes,
) -> bytes:
    """That a push has come to its end. Members without a value are null."""
    return _json(
        {
            "changes": text(changes),
            "gitaly_client_context_bin": _binary(client_context),
            "gl_repository": gl_repository,
            "identifier": gl_id,
            "push_options": _texts(push_options) or None,
        }
    )


def _texts(options: Sequence[str]) -> list[str]:
    return [text(option.encode("utf-8", "surrogateescape")) for option in options]


def _binary(data: bytes) -> str | None:
    return base64.b64encode(data).decode() if data else None


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
