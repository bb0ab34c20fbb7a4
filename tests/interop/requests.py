"""Requests and expectations of the tests with Go peers."""

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import PostUploadPackWithSidechannelRequest
from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.transport.pktline import FLUSH, encode

SSH = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
HTTP = "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel"
DELIMITER = b"0001"


def ssh_request(protocol: str = "", name: str = "a.git") -> str:
    """In hex, for the command line."""
    repository = Repository(storage_name="default", relative_path=name)
    request = SSHUploadPackWithSidechannelRequest(repository=repository, git_protocol=protocol)
    return request.SerializeToString().hex()


def http_request(name: str = "a.git") -> str:
    repository = Repository(storage_name="default", relative_path=name)
    request = PostUploadPackWithSidechannelRequest(repository=repository, git_protocol="version=2")
    return request.SerializeToString().hex()


def fetch_command(commit: str) -> bytes:
    """What git sends in version 2 to fetch one commit and everything behind it."""
    lines = [f"want {commit}\n", "ofs-delta\n", "done\n"]
    return b"".join(
        [
            encode(b"command=fetch\n"),
            DELIMITER,
            *(encode(line.encode()) for line in lines),
            FLUSH,
        ]
    )


def stateful_fetch(commit: str) -> bytes:
    """The same in version 0; the pack comes as it is, at the end."""
    want = encode(f"want {commit} ofs-delta\n".encode())
    return want + FLUSH + encode(b"done\n")


def ask_ssh(*, protocol: str = "", name: str = "a.git") -> list[str]:
    return ["-method", SSH, "-request", ssh_request(protocol, name)]


def ask_http(name: str = "a.git") -> list[str]:
    return ["-method", HTTP, "-request", http_request(name)]
