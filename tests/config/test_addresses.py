"""Where a node listens: what cannot be an address is told before it is tried."""

import pytest

from gitaly.config import ConfigError, load_text, require_startable
from gitaly.reload.objections import objections
from tests.config.good import answer, told

KEYS = ["listen_addr", "tls_listen_addr", "prometheus_listen_addr"]
ALLOWED = (
    'allowed: "host:port", or ":port" for every address of the machine;'
    " the port is a number up to 65535 or a service that /etc/services names"
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1:9236x", '"9236x" is not a port'),
        ("127.0.0.1:65536", '"65536" is not a port'),
        ("127.0.0.1:-1", '"-1" is not a port'),
        (":" + "9" * 5000, f'"{"9" * 5000}" is not a port'),
        ("localhost", '"localhost" is not a port'),
        ("[::1]", '"1]" is not a port'),
        ("localhost:no-such-service", '"no-such-service" is not a port'),
        ("localhost:\u0661", '"\u0661" is not a port'),
        ("http://localhost:9236", '"http://localhost" is neither a name nor an address'),
        ("a host:9236", '"a host" is neither a name nor an address'),
    ],
)
def test_an_address_that_is_none_is_told_with_its_key(
    good: str, key: str, address: str, what: str
) -> None:
    text = f'{key} = "{address}"\n{good}'
    assert answer(text) == [([key], f"{what}; {ALLOWED}")]
    with pytest.raises(ConfigError) as refused:
        require_startable(load_text(text))
    assert str(refused.value) == f"{key}: {what}; {ALLOWED}"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:0", "[::1]:9236", "[fe80::1%eth0]:65535", ":9236", "localhost:", "a-b.c:http"],
)
def test_every_address_that_can_be_listened_on_is_good(good: str, key: str, address: str) -> None:
    assert told(f'{key} = "{address}"\n{good}') == []


def test_a_reload_refuses_what_the_next_start_would(good: str) -> None:
    running, wanted = load_text(good), load_text(f'prometheus_listen_addr = ":x"\n{good}')
    assert [*objections(wanted, running, frozenset(), frozenset())] == [
        f'prometheus_listen_addr: "x" is not a port; {ALLOWED}'
    ]
