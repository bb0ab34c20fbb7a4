"""URLs of repositories at a node, as users of git write them.

    gitaly://HOST[:PORT]/STORAGE/RELATIVE/PATH.git          TCP; port 8075 if none is given
    gitaly+tls://HOST[:PORT]/STORAGE/RELATIVE/PATH.git      TLS; port 9999
    gitaly+unix:///PATH/OF/SOCKET:/STORAGE/RELATIVE/PATH.git

git looks for a program of its own for each of the three; they are the same. Behind `gitaly::` the
node's own forms work, too: gitaly::tcp://…, gitaly::tls://…, gitaly::unix:///…; git passes on what
follows the two colons. What is written with % is decoded; # and ? are characters like others.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from gitaly.errors import InvalidRequest

PORTS: Final = {"tcp": 8075, "tls": 9999}
FORM: Final = "gitaly://HOST[:PORT]/STORAGE/PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteUrl:
    """A repository and where it is."""

    address: str  # of the node, for `dial`
    host: str  # for git's credentials: with the port; of a socket, localhost
    socket: str = ""  # its path
    user: str = ""
    storage_name: str
    relative_path: str
    shown: str  # for messages: without password


def parse_remote_url(text: str) -> RemoteUrl:
    """Read a URL. Raises InvalidRequest."""
    scheme, separator, rest = text.partition("://")
    kind = {"gitaly": "tcp", "gitaly+tls": "tls", "gitaly+unix": "unix"}.get(scheme, scheme)
    if not separator or kind not in ("tcp", "tls", "unix"):
        raise InvalidRequest(f"{text}: not a URL of a repository, like {FORM}")
    return _at_socket(text, rest) if kind == "unix" else _at_host(text, kind, rest)


def _at_socket(text: str, rest: str) -> RemoteUrl:
    socket, separator, path = rest.partition(":/")
    if not separator or not socket.startswith("/"):
        raise InvalidRequest(f"{text}: the form is gitaly+unix:///SOCKET:/STORAGE/PATH")
    storage_name, relative_path = _repository(text, path)
    socket = unquote(socket)
    return RemoteUrl(
        address=f"unix:{socket}",
        host="localhost",
        socket=socket,
        storage_name=storage_name,
        relative_path=relative_path,
        shown=text,
    )


def _at_host(text: str, kind: str, rest: str) -> RemoteUrl:
    authority, _, path = rest.partition("/")
    user, at, place = authority.rpartition("@")
    shown = text.replace(f"{user}{at}", "", 1) if at else text
    try:
        parts = urlsplit(f"{kind}://{place}")
        host, port = parts.hostname, parts.port or PORTS[kind]
    except ValueError as error:
        raise InvalidRequest(f"{shown}: {error}") from error
    if not host or parts.netloc != place:
        raise InvalidRequest(f"{shown}: no host; the form is {FORM}")
    storage_name, relative_path = _repository(shown, path)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return RemoteUrl(
        address=f"{kind}://{where}",
        host=where,
        user=unquote(user.partition(":")[0]),
        storage_name=storage_name,
        relative_path=relative_path,
        shown=shown,
    )


def _repository(text: str, path: str) -> tuple[str, str]:
    storage_name, _, relative_path = path.partition("/")
    if not storage_name or not relative_path:
        raise InvalidRequest(f"{text}: no storage and path in it; the form is {FORM}")
    if not _is_text(path):
        raise InvalidRequest(f"{text}: storage and path must be UTF-8")
    return unquote(storage_name), unquote(relative_path)


def _is_text(argument: str) -> bool:
    """Whether an argument of this process was UTF-8."""
    return not any("\udc80" <= character <= "\udcff" for character in argument)
