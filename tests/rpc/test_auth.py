"""What the authenticator counts, logs and lets through, and how its policy is replaced."""

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly.errors import NodeError
from gitaly.git import Account
from gitaly.observe.log import make_logger
from gitaly.rpc import Authenticator, AuthPolicy, Call, node_services
from gitaly.token import fingerprints, make_token

NOW = 1_700_000_000.0
GOOD = make_token(b"secret", NOW)
WRONG = make_token(b"stranger", NOW)
METHOD = next(m for m in node_services()["gitaly.ServerService"] if m.name == "ServerInfo")
SECRET = AuthPolicy(secrets=(b"secret",))


@dataclass
class At:
    """A connection, as far as it matters here."""

    peer_address: str = "192.0.2.1:4711"
    is_internal: bool = False


@dataclass
class Door:
    """An authenticator, and what it says."""

    policy: AuthPolicy = SECRET
    internal_secret: bytes = b""
    now: float = NOW
    log: io.BytesIO = field(default_factory=io.BytesIO)
    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry())

    def __post_init__(self) -> None:
        self.authenticator = Authenticator(
            self.policy,
            self.registry,
            lambda: self.now,
            make_logger(self.log, format="json"),
            self.internal_secret,
        )

    def knock(self, header: str | None, at: At | None = None, **metadata: str) -> Call:
        """A call that is let in. Raises what it is refused with."""
        given = {key.replace("_", "-"): value for key, value in metadata.items()}
        if header is not None:
            given["authorization"] = header
        call = Call(
            method=METHOD,
            metadata=given,
            all_metadata=tuple(given.items()),
            started=0.0,
            connection=at or At(),
            account=Account(correlation_id="abc"),
        )
        self.authenticator.check(call)
        return call

    def said(self, *headers: str | None, at: At | None = None) -> list[str]:
        """How each call ends."""
        answers = []
        for header in headers:
            try:
                self.knock(header, at)
                answers.append("in")
            except NodeError as error:
                answers.append(type(error).__name__)
        return answers

    def counted(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """What is not zero."""
        return {
            tuple(sample.labels[label] for label in labels): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name and sample.value
        }

    @property
    def verdicts(self) -> dict[tuple[str, ...], float]:
        return self.counted("gitaly_authentications_total", "enforced", "status")

    @property
    def refusals(self) -> dict[tuple[str, ...], float]:
        return self.counted("gitaly_authentication_refusals_total", "enforced", "reason")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def test_without_a_secret_everybody_is_let_in_and_counted() -> None:
    door = Door(AuthPolicy())
    assert door.said(None, GOOD) == ["in", "in"]
    assert door.verdicts == {("true", "server disabled authentication"): 2.0}
    assert (door.refusals, door.lines()) == ({}, [])


def test_verdicts_are_counted_with_the_labels_of_the_operators_guide() -> None:
    door = Door()
    assert door.said(GOOD, None, WRONG) == ["in", "NoToken", "WrongToken"]
    assert door.verdicts == {
        ("true", "ok"): 1.0,
        ("true", "unauthenticated"): 1.0,
        ("true", "denied"): 1.0,
    }
    errors = door.counted("gitaly_authentication_errors_total", "version", "error")
    assert errors == {("v2", "wrong hmac signature"): 1.0}


def test_while_transitioning_nobody_is_refused_and_the_counter_says_who_would_be() -> None:
    door = Door(AuthPolicy(secrets=(b"secret",), transitioning=True))
    assert door.said(GOOD, None, WRONG) == ["in", "in", "in"]
    assert door.verdicts == {
        ("false", "would be ok"): 1.0,
        ("false", "unauthenticated"): 1.0,
        ("false", "denied"): 1.0,
    }
    assert door.refusals == {("false", "no token"): 1.0, ("false", "wrong secret"): 1.0}
    assert {line["msg"] for line in door.lines()} == {
        "a call was let in that will be refused once authentication is enforced"
    }


def test_every_reason_of_a_refusal_is_counted_by_its_name() -> None:
    door = Door(AuthPolicy(secrets=(b"secret", b"gone")))
    door.authenticator.adopt(SECRET)
    door.said(
        None,
        "Basic dXNlcg==",
        GOOD.replace("v2", "v3"),
        WRONG,
        make_token(b"gone", NOW),
        make_token(b"", NOW),
        make_token(b"secret", NOW - 60),
        make_token(b"secret", NOW + 60),
    )
    reasons = ("no token", "malformed", "unknown version", "wrong secret", "withdrawn secret")
    more = ("empty secret", "expired", "from the future")
    assert door.refusals == {("true", reason): 1.0 for reason in reasons + more}


def test_a_reason_is_on_the_page_before_it_happens() -> None:
    labels = {"enforced": "true", "reason": "expired"}
    value = Door().registry.get_sample_value("gitaly_authentication_refusals_total", labels)
    assert value == 0.0


def test_the_log_says_who_is_refused_why_and_how_far_the_clocks_are_apart() -> None:
    door = Door()
    with pytest.raises(NodeError):
        door.knock(make_token(b"secret", NOW - 3612), x_gitlab_client_name="gitlab-web")
    [line] = door.lines()
    assert {key: line[key] for key in line if key not in ("time", "pid")} == {
        "level": "warning",
        "msg": "a call was refused",
        "reason": "expired",
        "clock_skew_seconds": -3612.0,
        "peer.address": "192.0.2.1:4711",
        "grpc.request.fullMethod": "/gitaly.ServerService/ServerInfo",
        "grpc.meta.client_name": "gitlab-web",
        "correlation_id": "abc",
    }


def test_what_a_caller_says_of_itself_is_cut_in_the_log() -> None:
    door = Door()
    with pytest.raises(NodeError):
        door.knock(None, x_gitlab_client_name="x" * 1_000_000)
    assert door.lines()[0]["grpc.meta.client_name"] == "x" * 100


def test_a_flood_of_refusals_is_a_few_lines_and_a_count() -> None:
    door = Door()
    for number in range(1000):
        door.said(None, WRONG, at=At(f"192.0.2.{number % 100}:{number}"))
    lines = door.lines()
    assert len(lines) == 10
    assert len({line["peer.address"].partition(":")[0] for line in lines}) == 5
    door.authenticator.refusals.end_window()
    more = {line["reason"]: line["suppressed"] for line in door.lines()[10:]}
    assert more == {"no token": 995, "wrong secret": 995}
    door.said(None)
    assert door.lines()[-1]["reason"] == "no token"
    door.authenticator.refusals.end_window()
    assert len(door.lines()) == 13


def test_one_caller_takes_one_line_of_a_window() -> None:
    door = Door()
    for port in range(100):
        door.said(None, at=At(f"192.0.2.1:{port}"))
    door.said(None, at=At("192.0.2.2:1"))
    door.said(None, at=At(""))
    addresses = [line["peer.address"] for line in door.lines()]
    assert addresses == ["192.0.2.1:0", "192.0.2.2:1", "unix"]


def test_the_page_says_which_token_was_last_used_when() -> None:
    new, old = fingerprints([b"new", b"old"])
    door = Door(AuthPolicy(secrets=(b"new", b"old")))
    uses, last_used = (
        "gitaly_authentication_token_uses_total",
        "gitaly_authentication_token_last_used_timestamp_seconds",
    )
    assert door.registry.get_sample_value(uses, {"token": old}) == 0.0
    assert door.registry.get_sample_value(last_used, {"token": old, "position": "2"}) == 0.0
    door.said(make_token(b"old", NOW), make_token(b"new", NOW))
    door.now += 20
    door.said(make_token(b"new", NOW), WRONG)
    assert door.counted(uses, "token") == {(new,): 2.0, (old,): 1.0}
    assert door.counted(last_used, "token", "position") == {(new, "1"): NOW + 20, (old, "2"): NOW}


def test_a_token_that_comes_back_goes_on_counting() -> None:
    door = Door(AuthPolicy(secrets=(b"new", b"old")))
    old = make_token(b"old", NOW)
    door.said(old, old)
    door.authenticator.adopt(AuthPolicy(secrets=(b"new",)))
    assert door.said(old) == ["WrongToken"]
    door.authenticator.adopt(AuthPolicy(secrets=(b"newest", b"old")))
    assert door.said(old) == ["in"]
    counted = door.counted("gitaly_authentication_token_uses_total", "token")
    assert counted == {fingerprints([b"old"]): 3.0}


@pytest.mark.parametrize(
    ("policy", "mode", "enforced"),
    [
        (AuthPolicy(), "off", 0.0),
        (AuthPolicy(transitioning=True), "off", 0.0),
        (AuthPolicy(secrets=(b"s",), transitioning=True), "transitioning", 0.0),
        (AuthPolicy(secrets=(b"s",)), "enforced", 1.0),
    ],
)
def test_a_gauge_says_whether_strangers_are_refused(
    policy: AuthPolicy, mode: str, enforced: float
) -> None:
    door = Door(policy)
    assert door.authenticator.mode == mode
    assert door.registry.get_sample_value("gitaly_authentication_enforced") == enforced


def test_a_new_policy_holds_from_the_next_call_on_and_says_what_changed() -> None:
    door = Door(AuthPolicy(secrets=(b"old",), transitioning=True))
    (old, new) = fingerprints([b"old", b"new"])
    both = AuthPolicy(secrets=(b"new", b"old"))
    assert door.authenticator.adopt(both) == (
        f"token {new} accepted",
        "authentication enforced, was transitioning",
    )
    assert door.authenticator.accepted == (new, old)
    tokens = make_token(b"old", NOW), make_token(b"new", NOW)
    assert door.said(*tokens, None) == ["in", "in", "NoToken"]
    assert door.authenticator.adopt(AuthPolicy(secrets=(b"new",))) == (f"token {old} withdrawn",)
    assert door.said(*tokens) == ["WrongToken", "in"]
    assert door.authenticator.adopt(AuthPolicy(secrets=(b"new",))) == ()
    assert door.authenticator.adopt(AuthPolicy()) == (
        f"token {new} withdrawn",
        "authentication off, was enforced",
    )
    assert door.said(None) == ["in"]


def test_only_the_latest_withdrawn_tokens_are_remembered() -> None:
    door = Door(AuthPolicy(secrets=(b"0",)))
    for number in range(1, 10):
        door.authenticator.adopt(AuthPolicy(secrets=(b"%d" % number,)))
    door.said(*(make_token(b"%d" % number, NOW) for number in range(9)))
    assert door.refusals == {("true", "withdrawn secret"): 4.0, ("true", "wrong secret"): 5.0}


@pytest.mark.parametrize("secrets", [(b"",), (b"s", b""), (b"s", b"s")])
def test_a_policy_with_an_empty_secret_cannot_be_made(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match=r"^a secret is empty or given twice$"):
        AuthPolicy(secrets=secrets)


def test_the_secret_of_hooks_is_good_on_the_internal_socket_alone() -> None:
    door = Door(internal_secret=b"inner")
    inner = make_token(b"inner", NOW)
    assert door.said(inner) == ["WrongToken"]
    inside = At("", is_internal=True)
    assert door.said(inner, GOOD, WRONG, None, at=inside) == ["in", "in", "WrongToken", "NoToken"]
    door.authenticator.adopt(AuthPolicy(secrets=(b"new",)))
    assert door.said(inner, GOOD, at=inside) == ["in", "WrongToken"]


def test_the_secret_of_hooks_is_no_token_of_the_page() -> None:
    door = Door(internal_secret=b"inner")
    door.said(make_token(b"inner", NOW), at=At("", is_internal=True))
    assert door.counted("gitaly_authentication_token_uses_total", "token") == {}
    assert door.verdicts == {("true", "ok"): 1.0}


def test_who_asks_is_told_mode_verdict_and_time_and_others_are_not() -> None:
    door = Door(AuthPolicy(secrets=(b"secret",), transitioning=True))
    assert door.knock(GOOD).trailers == ()
    told = door.knock(make_token(b"secret", NOW - 60), gitaly_auth_test="1").trailers
    assert told == (
        ("gitaly-auth-mode", "transitioning"),
        ("gitaly-auth-verdict", "expired"),
        ("gitaly-auth-time", "1700000000.000"),
    )
    off = Door(AuthPolicy()).knock(None, gitaly_auth_test="1").trailers
    assert off[:2] == (("gitaly-auth-mode", "off"), ("gitaly-auth-verdict", "ok"))


def test_nothing_that_is_shown_holds_a_secret() -> None:
    door = Door(AuthPolicy(secrets=(b"correct horse", b"battery staple")), b"inner staple")
    shown = [repr(door.authenticator), repr(door.authenticator.__dict__), repr(door.policy)]
    shown += door.authenticator.adopt(AuthPolicy(secrets=(b"battery staple",)))
    door.said(make_token(b"correct horse", NOW), WRONG, None, "Bearer correct horse")
    shown += [repr(door.authenticator.__dict__), door.log.getvalue().decode()]
    assert [text for text in shown if "horse" in text or "staple" in text] == []
