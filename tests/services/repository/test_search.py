import os
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import SearchFilesByContentRequest, SearchFilesByNameRequest
from gitaly.errors import InvalidRequest
from gitaly.git import PathFilter
from gitaly.services.repository import SearchServicer
from tests.git.support import Bare, newcomers
from tests.services.repository.conftest import Started
from tests.services.repository.filling import collected, commit_files, take_one
from tests.storage.support import message
from tests.transport.wires import until

CALL: Any = None  # none of these calls looks at it


async def found(search: SearchServicer, query: str, ref: bytes = b"main") -> list[bytes]:
    request = SearchFilesByContentRequest(repository=message(), query=query, ref=ref)
    matches, current = [], b""
    for response in await collected(search.SearchFilesByContent(request, CALL)):
        assert len(response.match_data) <= 128 * 1024
        current += response.match_data
        if response.end_of_match:
            matches.append(current)
            current = b""
    assert current == b""
    return matches


async def named(search: SearchServicer, **more: Any) -> list[bytes]:
    given: dict[str, Any] = {"query": ".", "ref": b"main"}
    request = SearchFilesByNameRequest(repository=message(), **(given | more))
    [response] = await collected(search.SearchFilesByName(request, CALL))
    return list(response.files)


async def test_matches_come_with_two_lines_around_them(
    search: SearchServicer, either: Bare
) -> None:
    text = b"".join(b"line %d\n" % number for number in range(1, 21))
    commit_files(either, {"a": text, "b": b"Line 5 last", "c\nd": b"--\nline 5\n"})
    assert await found(search, "LINE 5$") == [
        b"main:a\x003\x00line 3\nmain:a\x004\x00line 4\nmain:a\x005\x00line 5\n"
        b"main:a\x006\x00line 6\nmain:a\x007\x00line 7\n",
        b"main:c\nd\x001\x00--\nmain:c\nd\x002\x00line 5\n",
    ]


async def test_binary_files_are_not_searched(search: SearchServicer, bare: Bare) -> None:
    commit_files(bare, {"a": b"x\0needle\n", "b": b"needle"})
    assert await found(search, "needle") == [b"main:b\x001\x00needle\n"]


@pytest.mark.parametrize(
    ("query", "ref"), [("none", b"main"), ("(", b"main"), ("needle", b"none"), ("-e", b"main")]
)
async def test_where_nothing_is_found_there_is_no_message(
    search: SearchServicer, bare: Bare, query: str, ref: bytes
) -> None:
    commit_files(bare, {"a": b"needle\n"})
    assert await found(search, query, ref) == []


async def test_a_line_of_any_length_is_streamed(search: SearchServicer, bare: Bare) -> None:
    line = b"x" * (20 << 20)
    commit_files(bare, {"a": line + b"\n"})
    [match] = await found(search, "^x")
    assert match == b"main:a\x001\x00" + line + b"\n"


async def test_a_search_that_nobody_reads_waits_and_ends_with_its_reader(
    search: SearchServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": os.urandom(6 << 20).hex().encode()})
    request = SearchFilesByContentRequest(repository=message(), query=".", ref=b"main")
    responses = search.SearchFilesByContent(request, CALL)
    await anext(aiter(responses))
    assert newcomers.left() != []
    await take_one(responses)
    await until(lambda: newcomers.left() == [])


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"query": ""}, "no query given"),
        ({"ref": b""}, "no ref given"),
        ({"ref": b"--output=x"}, "invalid ref argument"),
        ({"ref": b"-Oless"}, "invalid ref argument"),
        ({"query": "a\0b"}, "query contains a null byte"),
        ({"ref": b"a\0b"}, "ref contains a null byte"),
        ({"query": "x" * 200_000}, "query exceeds maximum length"),
    ],
)
async def test_what_cannot_be_searched_starts_no_git(
    search: SearchServicer, bare: Bare, started: Started, more: dict[str, Any], text: str
) -> None:
    fields: dict[str, Any] = {"repository": message(), "query": "a", "ref": b"main"} | more
    for responses in (
        search.SearchFilesByContent(SearchFilesByContentRequest(**fields), CALL),
        search.SearchFilesByName(SearchFilesByNameRequest(**fields), CALL),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await collected(responses)
        assert caught.value.message == text
    assert started.subcommands == []


async def test_files_are_found_below_a_path_filtered_and_in_pages(
    search: SearchServicer, either: Bare
) -> None:
    commit_files(either, {"a/1.c": b"", "a/2.go": b"", "ab": b"", b"a/\xe9.c": b"", "b/c.c": b""})
    assert await named(search) == [b"a/1.c", b"a/2.go", b"a/\xe9.c", b"ab", b"b/c.c"]
    assert await named(search, query="a") == [b"a/1.c", b"a/2.go", b"a/\xe9.c"]
    assert await named(search, filter=r"\.C$") == []
    assert await named(search, filter=r"(?i)\.C$") == [b"a/1.c", b"a/\xe9.c", b"b/c.c"]
    assert await named(search, filter="^a/.[.]c$") == [b"a/1.c", b"a/\xe9.c"]
    assert await named(search, filter=r"\.c$", offset=1, limit=1) == [b"a/\xe9.c"]
    assert await named(search, offset=4, limit=2**32 - 1) == [b"b/c.c"]
    assert await named(search, offset=9) == []
    assert await named(search, ref=b"none") == []
    assert await named(search, query="../..") == []
    assert await named(search, query="--help") == []


async def test_a_limit_ends_the_listing(search: SearchServicer, bare: Bare) -> None:
    commit_files(bare, {f"{number:0>200}": b"" for number in range(20_000)})
    assert await named(search, limit=2) == [b"0" * 200, b"0" * 199 + b"1"]
    assert len(await named(search, offset=5)) == 19_995


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("(", "missing closing ): `(`"),
        ("[a", "missing closing ]: `[a`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a(?=b)", "invalid or unsupported Perl syntax: `(?=`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("x{1001}", "invalid repeat count: `{1001}`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        ("a)", "unexpected ): `a)`"),
        ("\\", "trailing backslash at end of expression: ``"),
        ("((a{1000}){1000}){1000}", "invalid repeat count: `{1000}`"),
    ],
)
async def test_a_filter_that_is_no_expression_is_refused_in_gos_words(
    search: SearchServicer, bare: Bare, started: Started, expression: str, text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await named(search, filter=expression)
    assert caught.value.message == f"filter did not compile: error parsing regexp: {text}"
    assert started.subcommands == []


async def test_a_filter_has_1000_bytes_at_most(search: SearchServicer, bare: Bare) -> None:
    assert await named(search, filter="ü" * 500) == []
    with pytest.raises(InvalidRequest) as caught:
        await named(search, filter="ü" * 500 + "x")
    assert caught.value.message == "filter exceeds maximum length"


def test_no_expression_needs_exponential_time() -> None:
    assert not PathFilter("^(([a-z])+.)+[A-Z]([a-z])+$").matches(b"a" * 4000)


def test_what_is_not_utf8_counts_a_character_each_byte() -> None:
    assert PathFilter("^a..b$").matches(b"a\xff\xfeb")
    assert PathFilter("^ü.$").matches("ü".encode() + b"\xff")
