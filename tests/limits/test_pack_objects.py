"""The queues in front of git pack-objects."""

import io

import pytest
from prometheus_client import CollectorRegistry

from gitaly.config import load_text
from gitaly.limiting import Limiting
from gitaly.limits import Limiter, MethodLimits, PackObjectsLimiter, Refused, Rule
from gitaly.limits.pack_objects import client_of
from gitaly.observe.log import make_logger
from tests.limits.conftest import Metrics


def limiter(metrics: Metrics, *, unnamed: bool = False) -> PackObjectsLimiter:
    def make(authenticated: bool) -> Limiter:
        monitor = metrics.limits.pack_objects(authenticated=authenticated)
        return Limiter(Rule(concurrency=1, queue_size=1, queue_wait_seconds=0.01), monitor)

    return PackObjectsLimiter(
        MethodLimits(authenticated=make(True), unauthenticated=make(False) if unnamed else None)
    )


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", ""),
        ("127.8.0.1:99", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
        ("example.com", ""),
        ("example.com:80", ""),
        ("192.0.2.7:4711:9", ""),
        ("fe80::1%eth0", ""),
    ],
)
def test_a_client_is_known_by_its_address(given: str, key: str) -> None:
    assert client_of(given) == key


async def test_a_client_waits_for_its_own_packs_only(metrics: Metrics) -> None:
    limits = limiter(metrics)
    async with limits.slot("192.0.2.7:1", has_username=True) as turn:
        assert turn is not None
        assert turn.fields()["limit.limiting_type"] == "pack-objects"
        assert turn.fields()["limit.limiting_key"] == "192.0.2.7"
        async with limits.slot("192.0.2.8:1", has_username=True):
            assert metrics.value("gitaly_pack_objects_in_progress", auth="authenticated") == 2
        with pytest.raises(Refused, match="maximum time in concurrency queue reached") as refused:
            async with limits.slot("192.0.2.7:2", has_username=True):
                raise AssertionError
    assert "limit.authenticated" not in refused.value.turn.fields()
    name = "gitaly_pack_objects_dropped_total"
    assert metrics.value(name, auth="authenticated", reason="max_time") == 1
    assert metrics.value("gitaly_pack_objects_in_progress", auth="authenticated") == 0
    count = metrics.value("gitaly_pack_objects_acquiring_seconds_count", auth="authenticated")
    assert count == 2


async def test_loopback_is_not_limited(metrics: Metrics) -> None:
    limits = limiter(metrics)
    async with (
        limits.slot("127.0.0.1", has_username=True) as one,
        limits.slot("127.0.0.1", has_username=True) as other,
    ):
        assert (one, other) == (None, None)


async def test_clients_without_a_name_have_a_queue_of_their_own(metrics: Metrics) -> None:
    limits = limiter(metrics, unnamed=True)
    async with (
        limits.slot("192.0.2.7", has_username=True),
        limits.slot("192.0.2.7", has_username=False),
    ):
        assert metrics.value("gitaly_pack_objects_in_progress", auth="unauthenticated") == 1
        with pytest.raises(Refused):
            async with limits.slot("192.0.2.7", has_username=False):
                raise AssertionError


async def test_the_limit_of_the_configuration_counts() -> None:
    text = (
        "[pack_objects_limiting]\nmax_per_repo = 1\nmax_concurrency = 0\n"
        'max_queue_length = 1\nmax_queue_wait = "10ms"\n'
    )
    logger = make_logger(io.BytesIO())
    limits = Limiting(load_text(text), CollectorRegistry(), logger).pack_objects
    async with limits.slot("192.0.2.7", has_username=True):
        with pytest.raises(Refused):
            async with limits.slot("192.0.2.7", has_username=False):
                raise AssertionError
