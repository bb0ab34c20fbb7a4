"""Which headers are good, at the borders too."""

import hmac

import pytest

from gitaly.errors import PermissionDenied, Unauthenticated
from gitaly.rpc.bearer import NoToken, Reason, WrongToken, check_token
from gitaly.token import fingerprints, make_token

NOW = 1_700_000_000.0
SIGNATURE = "4b227f8831b3763d066901751ad4c583ed08832bf1924a4ec50c2e871b1e8586"
TOKEN = f"Bearer v2.{SIGNATURE}.1700000000"
SECRETS = (b"secret",)


def signed(stamp: str, secret: bytes = b"secret") -> str:
    return f"Bearer v2.{hmac.digest(secret, stamp.encode(), 'sha256').hex()}.{stamp}"


def test_a_token_is_the_hmac_of_the_time() -> None:
    assert make_token(b"secret", NOW) == TOKEN


@pytest.mark.parametrize("now", [NOW, NOW - 30, NOW + 30])
def test_a_token_is_good_for_thirty_seconds_around_its_time(now: float) -> None:
    check_token(TOKEN, SECRETS, now)


@pytest.mark.parametrize(
    ("now", "reason", "skew"),
    [
        (NOW + 30.001, Reason.EXPIRED, -30.001),
        (NOW + 31, Reason.EXPIRED, -31.0),
        (NOW + 3612.4, Reason.EXPIRED, -3612.4),
        (NOW - 30.001, Reason.FROM_FUTURE, 30.001),
        (NOW - 86400, Reason.FROM_FUTURE, 86400.0),
    ],
)
def test_a_millisecond_beyond_its_time_a_token_is_refused_with_the_measured_skew(
    now: float, reason: Reason, skew: float
) -> None:
    with pytest.raises(WrongToken) as wrong:
        check_token(TOKEN, SECRETS, now)
    assert (wrong.value.reason, wrong.value.clock_skew_seconds) == (reason, skew)
    assert wrong.value.metadata == {"reason": str(reason), "clock_skew_seconds": skew}


def test_a_header_is_good_for_any_number_of_calls_in_its_time_and_none_after_it() -> None:
    for second in range(-30, 31):
        assert check_token(TOKEN, SECRETS, NOW + second) == 0
    for second in (-31, 31):
        with pytest.raises(WrongToken):
            check_token(TOKEN, SECRETS, NOW + second)


@pytest.mark.parametrize(
    "header", [f"bearer v2.{SIGNATURE}.1700000000", f"BEARER v2.{SIGNATURE.upper()}.1700000000"]
)
def test_case_does_not_count_in_scheme_and_signature(header: str) -> None:
    check_token(header, SECRETS, NOW)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, Reason.NO_TOKEN),
        ("", Reason.NO_TOKEN),
        ("Basic dXNlcg==", Reason.MALFORMED),
        ("Bearer", Reason.MALFORMED),
        ("Bearer v2.abc", Reason.MALFORMED),
        (f"Bearer v2.{SIGNATURE}", Reason.MALFORMED),
        ("Bearer v2.nothex.1700000000", Reason.MALFORMED),
        (f"Bearer v2. {SIGNATURE}.1700000000", Reason.MALFORMED),
        ("Bearer v2.00 00.1", Reason.MALFORMED),
        ("Bearer v1.nothex.1700000000", Reason.MALFORMED),  # judged before the version
        ("Bearer v2." + "00" * 5_000_000 + ".1700000000", Reason.MALFORMED),
        (f"Bearer v2.{SIGNATURE}." + "1" * 10_000_000, Reason.MALFORMED),
        ("Bearer \x00\x01\xff.\xfe.\xfd", Reason.MALFORMED),
        ("." * 10_000, Reason.MALFORMED),
    ],
)
def test_what_cannot_be_judged_is_unauthenticated(header: str | None, reason: Reason) -> None:
    with pytest.raises(Unauthenticated, match=r"^authentication required$") as refused:
        check_token(header, SECRETS, NOW)
    assert isinstance(refused.value, NoToken)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("header", "now", "text", "reason"),
    [
        (TOKEN.replace("v2", "v1"), NOW, "invalid token version", Reason.UNKNOWN_VERSION),
        (TOKEN.replace("v2", ""), NOW, "invalid token version", Reason.UNKNOWN_VERSION),
        (f"Bearer v2.{'00' * 32}.1", NOW, "wrong hmac signature", Reason.WRONG_SECRET),
        ("Bearer v2..1700000000", NOW, "wrong hmac signature", Reason.WRONG_SECRET),
        (f"{TOKEN[:-1]}1", NOW, "wrong hmac signature", Reason.WRONG_SECRET),
        (f"{TOKEN[:-1]}\xe9", NOW, "wrong hmac signature", Reason.WRONG_SECRET),
        (signed("1700000000", b""), NOW, "wrong hmac signature", Reason.EMPTY_SECRET),
        (signed("1700000000", b"gone"), NOW, "wrong hmac signature", Reason.WITHDRAWN),
        (TOKEN, NOW + 30.1, "token has expired", Reason.EXPIRED),
        (TOKEN, NOW - 30.1, "token's validity window is in future", Reason.FROM_FUTURE),
    ],
)
def test_a_token_that_is_not_good_is_denied(
    header: str, now: float, text: str, reason: Reason
) -> None:
    with pytest.raises(PermissionDenied) as denied:
        check_token(header, SECRETS, now, withdrawn=(b"gone",))
    assert isinstance(denied.value, WrongToken)
    assert (str(denied.value), denied.value.reason) == (f"permission denied: {text}", reason)


def test_a_signed_text_that_is_no_number_is_denied_after_the_signature_was_checked() -> None:
    with pytest.raises(PermissionDenied, match="wrong hmac signature"):
        check_token("Bearer v2.b62f5e8a.x", SECRETS, NOW)
    with pytest.raises(PermissionDenied) as denied:
        check_token(signed("12x"), SECRETS, NOW)
    assert str(denied.value) == (
        'permission denied: cannot parse timestamp: strconv.ParseInt: parsing "12x": invalid syntax'
    )


@pytest.mark.parametrize("stamp", ["9" * 19, "-" + "9" * 20, "9" * 5000])
def test_a_signed_number_of_any_length_is_denied_as_out_of_range(stamp: str) -> None:
    with pytest.raises(PermissionDenied, match=r"value out of range$"):
        check_token(signed(stamp), SECRETS, NOW)


def test_each_of_several_secrets_opens_and_the_caller_is_known_by_its_place() -> None:
    secrets = (b"new", b"old", b"older")
    places = [check_token(signed("1700000000", secret), secrets, NOW) for secret in secrets]
    assert places == [0, 1, 2]
    with pytest.raises(WrongToken):
        check_token(signed("1700000000", b"oldest"), secrets, NOW)


def test_a_fingerprint_is_short_and_the_same_everywhere() -> None:
    assert fingerprints([b"secret", b"another"]) == ("6af5", "f621")


def test_secrets_with_the_same_fingerprint_are_told_apart() -> None:
    (name,) = fingerprints([b"secret"])
    assert fingerprints([b"secret"], taken=[name]) == (f"{name}-2",)
    assert fingerprints([b"secret", b"secret"], taken=[name]) == (f"{name}-2", f"{name}-3")
