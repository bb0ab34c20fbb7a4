import socket
import urllib.request

import pytest
from prometheus_client import Counter

from gitaly.observe.endpoint import CannotServeMetrics, make_registry, metrics_endpoint


def page(address: str) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_the_page_holds_the_series_and_not_when_they_were_made() -> None:
    registry = make_registry()
    Counter("calls_total", "Calls.", ["kind"], registry=registry).labels("a").inc()
    with metrics_endpoint("127.0.0.1:0", registry) as port:
        kind, text = page(f"127.0.0.1:{port}")
    assert kind.startswith("text/plain; version=0.0.4")
    assert 'calls_total{kind="a"} 1.0' in text
    assert "_created" not in text


def test_without_a_host_every_address_is_served() -> None:
    with metrics_endpoint(":0", make_registry()) as port:
        assert "python_info" in page(f"127.0.0.1:{port}")[1]


def test_a_client_that_says_nothing_keeps_nobody_waiting() -> None:
    with (
        metrics_endpoint("127.0.0.1:0", make_registry()) as port,
        socket.create_connection(("127.0.0.1", port)),
    ):
        assert "python_info" in page(f"127.0.0.1:{port}")[1]


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(CannotServeMetrics) as refused,
            metrics_endpoint(address, make_registry()),
        ):
            pass
    assert str(refused.value) == f"listen on {address}: Address already in use"


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("127.0.0.1:65536", "65536"),
        ("localhost", "localhost"),
        ("127.0.0.1:http x", "http x"),
        ("[::1]", "1]"),
    ],
)
def test_what_is_no_port_is_named(address: str, port: str) -> None:
    with (
        pytest.raises(CannotServeMetrics) as refused,
        metrics_endpoint(address, make_registry()),
    ):
        pass
    assert str(refused.value) == f'listen on {address}: "{port}" is not a port'
