"""Limits suggested from pages of metrics that are written by hand."""

from gitaly.config import Config, load_text, problems
from gitaly.limits.page import Page
from gitaly.limits.suggest import Configured, suggest

FETCH = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
LIST = "/gitaly.RefService/ListRefs"
DAYS = 3 * 24 * 3600.0


def labels(rpc: str, **more: str) -> str:
    service, _, method = rpc[1:].partition("/")
    pairs = {"grpc_service": service, "grpc_method": method, **more}
    return ",".join(f'{key}="{value}"' for key, value in pairs.items())


def spent(rpc: str, calls: int, seconds: float, cpu: float) -> str:
    return (
        f"grpc_server_handled_total{{{labels(rpc, grpc_code='OK')}}} {calls}\n"
        f"grpc_server_handling_seconds_sum{{{labels(rpc)}}} {seconds}\n"
        f"gitaly_command_cpu_seconds_total{{{labels(rpc, mode='user')}}} {cpu}\n"
    )


def met(rpc: str, **values: float) -> str:
    return "".join(
        f'gitaly_limit_{name}{{limit="perRPC{rpc}"}} {value}\n' for name, value in values.items()
    )


def suggested(page: str, limits: dict[str, Configured] | None = None, now: float = DAYS) -> str:
    return suggest(Page(page), limits or {}, cpus=8, now=now)


def loaded(text: str) -> Config:
    config = load_text(text)
    assert config.origin.unknown_keys == ()
    assert [p for p in problems(config) if p.key[:1] == ("concurrency",)] == []
    return config


def test_a_method_that_needs_much_cpu_gets_a_limit_in_shadow_mode() -> None:
    text = suggested(spent(FETCH, 1000, 4000.0, 2000.0) + spent(LIST, 9000, 90.0, 9.0))
    (table,) = loaded(text).concurrency
    assert (table.rpc, table.shadow) == (FETCH, True)
    assert table.max_concurrency == 8  # each keeps half a CPU busy, and half of eight may be taken
    assert "# 1000 calls took 2000.0 s of CPU, 100% of all that git took;" in text
    assert "keeps 0.50 CPUs busy, so 8 of one repository take about 50% of the machine." in text


def test_few_calls_say_nothing() -> None:
    text = suggested(spent(FETCH, 19, 4000.0, 2000.0))
    assert loaded(text).concurrency == ()
    assert "No method needs a limit" in text


def test_a_page_without_histograms_is_enough() -> None:
    (table,) = loaded(suggested(spent(FETCH, 1000, 0.0, 2000.0))).concurrency
    assert table.max_concurrency == 4


def test_a_node_that_runs_for_hours_only_is_asked_again() -> None:
    assert "ask again after the busiest hours" in suggested("", now=3600.0)
    assert "ask again" not in suggested("")


SHADOW = Configured(concurrency=4, queue_size=10, wait="30s", shadow=True)


def test_a_limit_that_would_not_have_hurt_is_enforced() -> None:
    page = spent(FETCH, 1000, 1.0, 1.0) + met(FETCH, most_wanted=3)
    text = suggested(page, {FETCH: SHADOW})
    (table,) = loaded(text).concurrency
    assert (table.max_concurrency, table.max_queue_size, table.shadow) == (4, 10, False)
    assert table.max_queue_wait.total_seconds() == 30
    assert "The numbers are good as they are. Enforced now." in text


def test_a_queue_that_would_have_been_too_short_grows() -> None:
    counted = met(FETCH, most_wanted=90, shadow_queued_total=300, shadow_dropped_total=50)
    text = suggested(spent(FETCH, 1000, 1.0, 1.0) + counted, {FETCH: SHADOW})
    (table,) = loaded(text).concurrency
    assert (table.max_concurrency, table.max_queue_size) == (4, 86)
    assert "of 1000 calls 300 would have waited and 50 been refused" in text


def test_a_shadow_that_nothing_fell_on_stays() -> None:
    (table,) = loaded(suggested("", {FETCH: SHADOW})).concurrency
    assert table.shadow


def test_callers_who_wait_long_are_told_of() -> None:
    histogram = "gitaly_concurrency_limiting_acquiring_seconds"
    page = spent(FETCH, 100, 1.0, 1.0) + (
        f"{histogram}_bucket{{{labels(FETCH, le='0.5')}}} 20\n"
        f"{histogram}_bucket{{{labels(FETCH, le='1.0')}}} 60\n"
        f"{histogram}_bucket{{{labels(FETCH, le='+Inf')}}} 100\n"
        f"{histogram}_count{{{labels(FETCH)}}} 100\n"
    )
    text = suggested(page, {FETCH: Configured(concurrency=4, queue_size=10)})
    assert "40.0% waited more than a second" in text
    assert "raise max_concurrency" in text


def test_refusals_for_their_time_do_not_make_the_queue_longer() -> None:
    dropped = f"gitaly_requests_dropped_total{{{labels(FETCH, reason='max_time')}}} 50\n"
    page = spent(FETCH, 1000, 1.0, 1.0) + met(FETCH, most_wanted=9) + dropped
    text = suggested(page, {FETCH: Configured(concurrency=4, queue_size=10)})
    assert loaded(text).concurrency[0].max_queue_size == 10
    assert "they were refused for their time in it" in text


def test_what_is_adaptive_stays_so() -> None:
    adaptive = "adaptive = true\ninitial_limit = 5\nmin_limit = 2\nmax_limit = 9"
    limit = Configured(concurrency=5, queue_size=10, adaptive=adaptive)
    (table,) = loaded(suggested(spent(FETCH, 1000, 1.0, 1.0), {FETCH: limit})).concurrency
    assert (table.adaptive, table.initial_limit, table.max_limit) == (True, 5, 9)
