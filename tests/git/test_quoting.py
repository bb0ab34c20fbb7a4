import pytest

from gitaly.git import go_quoted


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a "b" \\', r'"a \"b\" \\"'),
        ("tab\tline\n", r'"tab\tline\n"'),
        ("nul\0", r'"nul\x00"'),
        ("\x7f", r'"\x7f"'),
        ("ü 日", '"ü 日"'),
        ("\u200b\u00a0", r'"\u200b\u00a0"'),
        ("\U000e0001", r'"\U000e0001"'),
        (b"\xff\xc3", r'"\xff\xc3"'),
    ],
)
def test_text_is_quoted_as_go_does(text: str | bytes, quoted: str) -> None:
    assert go_quoted(text) == quoted
