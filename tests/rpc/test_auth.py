import hmac

import pytest
from prometheus_client import CollectorRegistry

from gitaly.errors import NodeError, PermissionDenied, Unauthenticated
from gitaly.rpc.auth import Authenticator, AuthPolicy, check_token
from gitaly.token import make_token

NOW = 1_700_000_000.0
SIGNATURE = "4b227f8831b3763d066901751ad4c583ed08832bf1924a4ec50c2e871b1e8586"
TOKEN = f"Bearer v2.{SIGNATURE}.1700000000"


def test_a_token_is_the_hmac_of_the_time() -> None:
    assert make_token(b"secret", NOW) == TOKEN


@pytest.mark.parametrize("now", [NOW, NOW - 30, NOW + 30])
def test_a_token_is_good_for_thirty_seconds_around_its_time(now: float) -> None:
    check_token(TOKEN, b"secret", now)


@pytest.mark.parametrize(
    "header", [f"bearer v2.{SIGNATURE}.1700000000", f"BEARER v2.{SIGNATURE.upper()}.1700000000"]
)
def test_case_does_not_count_in_scheme_and_signature(header: str) -> None:
    check_token(header, b"secret", NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic dXNlcg==",
        "Bearer",
        "Bearer v2.abc",
        f"Bearer v2.{SIGNATURE}",
        "Bearer v2.nothex.1700000000",
    ],
)
def test_what_cannot_be_judged_is_unauthenticated(header: str | None) -> None:
    with pytest.raises(Unauthenticated, match=r"^authentication required$"):
        check_token(header, b"secret", NOW)


@pytest.mark.parametrize(
    ("header", "now", "text"),
    [
        (f"Bearer v1.{SIGNATURE}.1700000000", NOW, "invalid token version"),
        (f"Bearer v2.{'00' * 32}.1700000000", NOW, "wrong hmac signature"),
        (f"Bearer v2.{SIGNATURE}.1700000001", NOW, "wrong hmac signature"),
        (TOKEN, NOW + 30.1, "token has expired"),
        (TOKEN, NOW - 30.1, "token's validity window is in future"),
    ],
)
def test_a_token_that_is_not_good_is_denied(header: str, now: float, text: str) -> None:
    with pytest.raises(PermissionDenied) as denied:
        check_token(header, b"secret", now)
    assert str(denied.value) == f"permission denied: {text}"


def test_a_signed_text_that_is_no_number_is_denied_after_the_signature_was_checked() -> None:
    header = "Bearer v2.b62f5e8a.x"
    with pytest.raises(PermissionDenied, match="wrong hmac signature"):
        check_token(header, b"secret", NOW)
    signed = hmac.digest(b"secret", b"12x", "sha256").hex()
    with pytest.raises(PermissionDenied) as denied:
        check_token(f"Bearer v2.{signed}.12x", b"secret", NOW)
    assert str(denied.value) == (
        'permission denied: cannot parse timestamp: strconv.ParseInt: parsing "12x": invalid syntax'
    )


def verdicts(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["enforced"], sample.labels["status"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "gitaly_authentications_total" and sample.value
    }


def judged(policy: AuthPolicy, *headers: str | None) -> tuple[list[str], CollectorRegistry]:
    registry = CollectorRegistry()
    authenticator = Authenticator(policy, registry, lambda: NOW)
    errors = []
    for header in headers:
        try:
            authenticator.check(header)
        except NodeError as error:
            errors.append(type(error).__name__)
    return errors, registry


def test_without_a_secret_everybody_is_let_in_and_counted() -> None:
    errors, registry = judged(AuthPolicy(), None, TOKEN)
    assert errors == []
    assert verdicts(registry) == {("true", "server disabled authentication"): 2.0}


def test_verdicts_are_counted_with_the_labels_of_the_operators_guide() -> None:
    wrong = f"Bearer v2.{'00' * 32}.1700000000"
    errors, registry = judged(AuthPolicy(secret=b"secret"), TOKEN, None, wrong)
    assert errors == ["Unauthenticated", "WrongToken"]
    assert verdicts(registry) == {
        ("true", "ok"): 1.0,
        ("true", "unauthenticated"): 1.0,
        ("true", "denied"): 1.0,
    }
    labels = {"version": "v2", "error": "wrong hmac signature"}
    assert registry.get_sample_value("gitaly_authentication_errors_total", labels) == 1.0


def test_while_transitioning_nobody_is_refused_and_the_counter_says_who_would_be() -> None:
    wrong = f"Bearer v2.{'00' * 32}.1700000000"
    policy = AuthPolicy(secret=b"secret", transitioning=True)
    errors, registry = judged(policy, TOKEN, None, wrong)
    assert errors == []
    assert verdicts(registry) == {
        ("false", "would be ok"): 1.0,
        ("false", "unauthenticated"): 1.0,
        ("false", "denied"): 1.0,
    }


@pytest.mark.parametrize("stamp", ["9" * 19, "-" + "9" * 20, "9" * 5000])
def test_a_signed_number_of_any_length_is_denied_as_out_of_range(stamp: str) -> None:
    signed = hmac.digest(b"secret", stamp.encode(), "sha256").hex()
    with pytest.raises(PermissionDenied, match=r"value out of range$"):
        check_token(f"Bearer v2.{signed}.{stamp}", b"secret", NOW)


@pytest.mark.parametrize(
    "header",
    [f"Bearer v2. {SIGNATURE}.1700000000", "Bearer v2.00 00.1", "Bearer v1.nothex.1700000000"],
)
def test_a_signature_that_is_not_hexadecimal_is_judged_before_the_version(header: str) -> None:
    with pytest.raises(Unauthenticated):
        check_token(header, b"secret", NOW)
