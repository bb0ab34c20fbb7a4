import base64
import json

import msgspec
import pytest

from gitaly.errors import InvalidRequest
from gitaly.transactions import Transaction, parse_transaction


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_what_praefect_says_is_understood() -> None:
    found = parse_transaction("eyJpZCI6Nywibm9kZSI6Im5vZGUtMSIsInByaW1hcnkiOnRydWV9", 12)
    assert found == Transaction(id=7, node="node-1", primary=True, backchannel_id=12)


def test_only_the_node_says_which_way_leads_back() -> None:
    said = encoded('{"backchannel_id":3,"id":7,"node":"node-1","primary":true}')
    assert parse_transaction(said, 12).backchannel_id == 12


def test_what_a_newer_praefect_adds_is_ignored() -> None:
    said = encoded('{"id":7,"node":"node-1","primary":false,"lease":{"seconds":20}}')
    assert parse_transaction(said, 1) == Transaction(id=7, node="node-1", backchannel_id=1)


def test_what_is_missing_is_nothing() -> None:
    assert parse_transaction(encoded("{}"), 1) == Transaction(backchannel_id=1)


def test_the_largest_id_is_an_id() -> None:
    assert parse_transaction(encoded('{"id":18446744073709551615}'), 1).id == 2**64 - 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "not JSON"),
        ("*", "not base64"),
        ("eyJpZCI6Nywibm9kZSI6Im5vZGUtMSIsInByaW1hcnkiOnRydWV", "not base64"),
        ("\u00e9", "not base64"),
        (encoded("nonsense"), "not JSON"),
        (encoded("[]"), "Expected `object`, got `array`"),
        (encoded('{"id":"7"}'), "Expected `int`, got `str` - at `$.id`"),
        (encoded('{"primary":1}'), "Expected `bool`, got `int` - at `$.primary`"),
        (encoded('{"id":-1}'), "id is out of range"),
        (encoded('{"id":18446744073709551616}'), "id is out of range"),
        (base64.b64encode(b'{"node":"\xff"}').decode(), "not JSON"),
    ],
)
def test_nonsense_is_refused_in_words(value: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_transaction(value, 1)
    assert caught.value.message == f"gitaly-reference-transaction: {text}"


def test_a_deep_nest_of_brackets_is_refused_like_other_nonsense() -> None:
    with pytest.raises(InvalidRequest):
        parse_transaction(encoded('{"more":' + "[" * 100_000), 1)


def test_hooks_are_told_the_same_with_the_way_back() -> None:
    found = Transaction(id=7, node="node-1", primary=True, backchannel_id=12)
    assert json.loads(msgspec.json.encode(found)) == {
        "id": 7,
        "node": "node-1",
        "primary": True,
        "backchannel_id": 12,
    }
