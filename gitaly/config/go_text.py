"""Values as Go prints them: operators' tools compare the texts of errors."""

import errno
import os
from collections.abc import Iterable
from typing import Final

ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}


def quote(text: str) -> str:
    """The text in double quotes, as %q prints it. Surrogate escapes are printed as their bytes."""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def quote_bytes(data: bytes) -> str:
    """The same for bytes, which need not be UTF-8."""
    return quote(data.decode("utf-8", "surrogateescape"))


def float_text(number: float) -> str:
    """A float as %v prints it: 0.5, 1, 1e-07, 1e+06."""
    if number == 0:
        return "0"
    if number != number or number in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(number)]
    digits, exponent = _shortest(number)
    if -4 <= exponent < 6:
        text = f"{number:.{max(0, len(digits) - 1 - exponent)}f}"
        return text.removesuffix(".0")
    mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
    return f"{'-' if number < 0 else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def float_list_text(numbers: Iterable[float]) -> str:
    """A list of floats as %v prints it: [0.5 1 10]."""
    return "[" + " ".join(float_text(number) for number in numbers) + "]"


def reason(error: OSError | ValueError) -> str:
    """What the operating system says, in Go's lower case: "no such file or directory".

    Python refuses a NUL in a path with a ValueError; the system would call it an invalid argument.
    """
    code = error.errno if isinstance(error, OSError) else None
    return os.strerror(code or errno.EINVAL).lower()


def _quoted(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shortest(number: float) -> tuple[str, int]:
    """The fewest digits that name the number, and the decimal exponent of the first of them."""
    mantissa, _, exponent = f"{abs(number):.17e}".partition("e")
    for precision in range(17):
        mantissa, _, exponent = f"{abs(number):.{precision}e}".partition("e")
        if float(f"{mantissa}e{exponent}") == abs(number):
            break
    return mantissa.replace(".", ""), int(exponent)
