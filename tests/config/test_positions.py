"""The scanner of positions must find its way through every document that the parser accepts."""

import tomli
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from gitaly.config.decode import Path
from gitaly.config.positions import Form, Spot, line_and_column, positions

DOCUMENT = '''
# a comment = [
plain = 1 # trailing
"quoted \\" key".'lit.eral' = "a ] b } # c"
long = """
] " "" \\""" """""
raw = \'\'\'
'x' = 5 \'\'\'
list = [ 1, # one
  [2, "]"], { x = [3], y.z = 4 },
]
date = 2020-01-01 07:00:00
[ a . b ]
k = true
[[ many ]]
n = 1
[[many]]
n = 2
[many.sub]
deep = 3
'''


def test_every_place_of_a_document_is_known() -> None:
    spots = {path: DOCUMENT[s.offset :].split()[0] for path, s in positions(DOCUMENT).items()}
    assert spots == {
        ("plain",): "1",
        ('quoted " key',): '"quoted',
        ('quoted " key', "lit.eral"): '"a',
        ("long",): '"""',
        ("raw",): "'''",
        ("list",): "[",
        ("list", 0): "1,",
        ("list", 1): "[2,",
        ("list", 1, 0): "2,",
        ("list", 1, 1): '"]"],',
        ("list", 2): "{",
        ("list", 2, "x"): "[3],",
        ("list", 2, "x", 0): "3],",
        ("list", 2, "y"): "y.z",
        ("list", 2, "y", "z"): "4",
        ("date",): "2020-01-01",
        ("a",): "a",
        ("a", "b"): "b",
        ("a", "b", "k"): "true",
        ("many",): "many",
        ("many", 0): "many",
        ("many", 0, "n"): "1",
        ("many", 1): "many]]",
        ("many", 1, "n"): "2",
        ("many", 1, "sub"): "sub]",
        ("many", 1, "sub", "deep"): "3",
    }


def test_headers_and_values_are_told_apart() -> None:
    spots = positions("a = {}\n[b]\n[[c]]\n")
    assert spots[("a",)] == Spot(4, Form.VALUE)
    assert spots[("b",)] == Spot(8, Form.TABLE)
    assert spots[("c",)] == Spot(13, Form.ARRAY_TABLE)


def test_lines_and_columns_count_from_one() -> None:
    assert line_and_column("ab\ncd", 0) == (1, 1)
    assert line_and_column("ab\ncd", 4) == (2, 2)


scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8),
    st.datetimes(),
)
keys = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=5
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def paths_of(value: object, path: Path = ()) -> set[Path]:
    found: set[Path] = {path} if path else set()
    if isinstance(value, dict):
        return found.union(*(paths_of(inner, (*path, name)) for name, inner in value.items()))
    if isinstance(value, list):
        return found.union(*(paths_of(inner, (*path, i)) for i, inner in enumerate(value)))
    return found


@given(st.dictionaries(keys, values, max_size=5))
def test_no_path_that_the_parser_knows_is_missing(tree: dict[str, object]) -> None:
    document = tomlkit.dumps(tree)
    assert set(positions(document)) == paths_of(tomli.loads(document))
