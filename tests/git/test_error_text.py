import pytest

from gitaly.git.error_text import ErrorText


def fed(*pieces: bytes) -> bytes:
    text = ErrorText()
    for piece in pieces:
        text.feed(piece)
    return text.value()


def test_short_text_is_kept_as_it_is() -> None:
    assert fed(b"fatal: a\r\n", b"more", b" text\n") == b"fatal: a\r\nmore text\n"


def test_the_first_10000_bytes_are_kept() -> None:
    assert fed(b"0123456789\n" * 2000) == (b"0123456789\n" * 2000)[:10000]


@pytest.mark.parametrize("cut", [1, 4095, 4096, 4097, 4999])
def test_lines_are_cut_at_4096_bytes_wherever_the_pieces_end(cut: int) -> None:
    line = b"x" * 5000
    assert fed(line[:cut], line[cut:] + b"\nnext") == b"x" * 4096 + b"\nnext"
