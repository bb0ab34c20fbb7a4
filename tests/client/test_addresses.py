"""Where a node listens, as clients are told it."""

import pytest

from gitaly.client.address import Address, parse_address
from gitaly.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/node.sock", "/run/node.sock"),
        ("unix:///run/node.sock", "/run/node.sock"),
        ("unix:node.sock", "node.sock"),
        ("unix://run/node.sock", "run/node.sock"),
        ("unix:/with space/a:b", "/with space/a:b"),
        ("unix:/not%20decoded", "/not%20decoded"),
    ],
)
def test_a_socket_is_named_by_its_path(text: str, path: str) -> None:
    assert parse_address(text) == Address(path=path)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://node.example.com:8075", "node.example.com", 8075),
        ("tcp://127.0.0.1:8075", "127.0.0.1", 8075),
        ("tcp://[::1]:8075", "::1", 8075),
        ("tcp://[fe80::1%eth0]:8075", "fe80::1%eth0", 8075),
        ("tcp://node:8075/", "node", 8075),
        ("dns:node:8075", "node", 8075),
        ("dns:[::1]:8075", "::1", 8075),
        ("dns:///node:8075", "node", 8075),
        ("dns:///[::1]:8075", "::1", 8075),
        ("dns://192.0.2.53/node:8075", "node", 8075),
        ("dns://192.0.2.53:53/node:8075", "node", 8075),
    ],
)
def test_a_node_on_the_network_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host=host, port=port)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("tls://node:9999", "node"),
        ("tls://[2001:db8::1]:9999", "2001:db8::1"),
        ("dns+tls:node:9999", "node"),
        ("dns+tls:///node:9999", "node"),
    ],
)
def test_tls_is_a_scheme_of_its_own(text: str, host: str) -> None:
    assert parse_address(text) == Address(host=host, port=9999, tls=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "gitaly address can not be empty"),
        ("unix:", 'invalid address "unix:": no path'),
        ("unix://", 'invalid address "unix://": no path'),
        ("/run/node.sock", 'unknown scheme: "/run/node.sock"'),
        ("node:8075", 'unknown scheme: "node:8075"'),
        ("http://node:80", 'unknown scheme: "http://node:80"'),
        ("UNIX:/run/node.sock", 'unknown scheme: "UNIX:/run/node.sock"'),
        ("tcp://node", 'invalid address "tcp://node": host and port are needed'),
        ("tcp://:8075", 'invalid address "tcp://:8075": host and port are needed'),
        ("tcp:node:8075", 'invalid address "tcp:node:8075": host and port are needed'),
        ("dns:node", 'invalid address "dns:node": host and port are needed'),
        ("dns://node:8075", 'invalid address "dns://node:8075": host and port are needed'),
        ("tcp://node:1/x", 'invalid address "tcp://node:1/x": /x has no place in it'),
        ("tcp://node:70000", 'invalid address "tcp://node:70000": Port out of range 0-65535'),
        ("tcp://[::1:8075", 'invalid address "tcp://[::1:8075": Invalid IPv6 URL'),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_address(text)
    assert str(refused.value) == said


@pytest.mark.parametrize("text", ["tcp://node:x", "tcp://::1:8075", "tcp://[nonsense]:8075"])
def test_a_port_or_a_host_that_is_none_is_refused_with_the_address(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_address(text)
    assert str(refused.value).startswith(f'invalid address "{text}": ')


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (Address(path="/run/node.sock"), "unix /run/node.sock"),
        (Address(host="node", port=8075), "tcp node:8075"),
        (Address(host="::1", port=9999, tls=True), "tcp [::1]:9999"),
    ],
)
def test_an_address_is_shown_as_go_shows_it(address: Address, shown: str) -> None:
    assert str(address) == shown
