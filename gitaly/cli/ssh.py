"""`gitaly-ssh`: what git runs instead of ssh, to fetch from another node or to push to it.

    gitaly-ssh upload-pack|receive-pack|upload-archive HOST COMMAND

HOST and COMMAND come from git and mean nothing; the environment says what is wanted:

    GITALY_ADDRESS       the node: unix:PATH, tcp://HOST:PORT, tls://HOST:PORT, dns:HOST:PORT
    GITALY_TOKEN         its token, if it asks for one
    GITALY_PAYLOAD       the request as protobuf's JSON; repository, glId and so on
    GITALY_WD            a directory to go to first
    GITALY_FEATUREFLAGS  name:true,other_name:false
    CORRELATION_ID       goes along
    SSL_CERT_FILE, SSL_CERT_DIR  whom to trust; the system's certificates otherwise

Exits with the status of the node's git; with 1, and a line on standard error, if it never came so
far. Source: Gitaly, cmd/gitaly-ssh.
"""

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, NoReturn, TypeVar

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # standard error is the user's

from google.protobuf import json_format
from google.protobuf.message import Message

from gitaly._pb.ssh_pb2 import (
    SSHReceivePackRequest,
    SSHUploadArchiveRequest,
    SSHUploadPackWithSidechannelRequest,
)
from gitaly.client import (
    CallFailed,
    NodeConnection,
    OutputClosed,
    dial,
    receive_pack,
    upload_archive,
    upload_pack,
)
from gitaly.errors import InvalidRequest, NodeError

M = TypeVar("M", bound=Message)

FLAG_NAME: Final = r"[A-Za-z0-9_.-]+"  # what a call can carry; of an id, VISIBLE
VISIBLE: Final = r"[!-~]+"
SHOW_ALL_REFS: Final = "transfer.hideRefs=!refs"  # another node needs the hidden ones, too


def main() -> NoReturn:
    """The console script."""
    if len(sys.argv) < 4:
        sys.exit(_logged("usage: gitaly-ssh upload-pack|receive-pack|upload-archive HOST COMMAND"))
    run = COMMANDS.get(sys.argv[1])
    if run is None:
        sys.exit(_logged(f'invalid pack command: "{sys.argv[1]}"'))
    directory = os.environ.get("GITALY_WD")
    try:
        if directory:
            os.chdir(directory)
    except OSError as error:
        sys.exit(_logged(f"unable to chdir to {directory}", str(error.strerror)))
    try:
        status = asyncio.run(_run(run, os.environ))
    except KeyboardInterrupt:
        status = 130
    except CallFailed as error:
        status = _logged("command returned error", error.go_text)
    except (NodeError, ConnectionError) as error:
        status = _logged("command returned error", str(error))
    except OutputClosed:
        status = _logged("command returned error", "write /dev/stdout: broken pipe")
    sys.exit(status)


async def _run(
    run: Callable[[NodeConnection, str], Awaitable[int]], environment: Mapping[str, str]
) -> int:
    secret = os.environb.get(b"GITALY_TOKEN", b"")
    metadata = [
        ("x-gitlab-client-name", "gitaly-ssh"),
        ("x-gitlab-correlation-id", _correlation_id(environment)),
        *feature_flags(environment.get("GITALY_FEATUREFLAGS", "")),
    ]
    async with dial(environment.get("GITALY_ADDRESS", ""), secret, metadata=metadata) as node:
        return await run(node, environment.get("GITALY_PAYLOAD", ""))


async def _upload_pack(node: NodeConnection, payload: str) -> int:
    request = _parsed(payload, SSHUploadPackWithSidechannelRequest())
    request.git_config_options.insert(0, SHOW_ALL_REFS)
    await upload_pack(node, request)
    return 0  # the node tells of a failed git by an error only


async def _receive_pack(node: NodeConnection, payload: str) -> int:
    return await receive_pack(node, _parsed(payload, SSHReceivePackRequest()))


async def _upload_archive(node: NodeConnection, payload: str) -> int:
    return await upload_archive(node, _parsed(payload, SSHUploadArchiveRequest()))


COMMANDS: Final[Mapping[str, Callable[[NodeConnection, str], Awaitable[int]]]] = {
    "upload-pack": _upload_pack,
    "receive-pack": _receive_pack,
    "upload-archive": _upload_archive,
}


def feature_flags(text: str) -> Iterator[tuple[str, str]]:
    """`name:true,other_name:false` as metadata of calls; what is malformed is left out."""
    for item in text.split(","):
        name, colon, value = item.partition(":")
        if colon and re.fullmatch(FLAG_NAME, name) and value in ("true", "false"):
            yield f"gitaly-feature-{name.replace('_', '-').lower()}", value


def _correlation_id(environment: Mapping[str, str]) -> str:
    given = environment.get("CORRELATION_ID", "")
    return given if re.fullmatch(VISIBLE, given) else secrets.token_hex(16)


def _parsed(payload: str, request: M) -> M:
    try:
        return json_format.Parse(payload, request)
    except json_format.ParseError as error:
        reason = str(error).partition("\n")[0]
        raise InvalidRequest(f"unmarshaling payload failed: {reason}") from error


def _logged(text: str, error: str = "") -> int:
    """One line in the text format of logs; the exit status."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    fields = {"time": stamp, "level": "error", "msg": text, "error": error, "pid": str(os.getpid())}
    line = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items() if value)
    print(line, file=sys.stderr)
    return 1


def _quoted(value: str) -> str:
    if value.replace("-", "").replace(".", "").isalnum():
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
