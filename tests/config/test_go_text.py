import errno

import pytest

from gitaly.config.go_text import float_list_text, float_text, quote, quote_bytes, reason


def test_a_text_is_quoted_with_gos_escapes() -> None:
    assert quote('a"b\\\n\t\0\x7f') == r'"a\"b\\\n\t\x00\x7f"'


def test_letters_of_all_scripts_are_printed_and_invisible_characters_are_not() -> None:
    assert quote("é\U0001f600\u00a0\u2028\U000e0001") == r'"é😀\u00a0\u2028\U000e0001"'


def test_bytes_that_are_no_text_are_quoted_as_numbers() -> None:
    assert quote_bytes(b"a\xff") == r'"a\xff"'


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (0.5, "0.5"),
        (-0.25, "-0.25"),
        (1500.0, "1500"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (100000.0, "100000"),
        (1000000.0, "1e+06"),
        (123456789.5, "1.234567895e+08"),
        (-1e21, "-1e+21"),
        (0.0, "0"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_a_float_is_printed_as_go_prints_it(number: float, text: str) -> None:
    assert float_text(number) == text


def test_a_list_of_floats_has_no_commas() -> None:
    assert float_list_text([1.0, 0.5]) == "[1 0.5]"


def test_the_system_speaks_in_lower_case() -> None:
    assert reason(FileNotFoundError(errno.ENOENT, "x")) == "no such file or directory"
    assert reason(ValueError("embedded null byte")) == "invalid argument"
