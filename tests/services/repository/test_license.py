import asyncio
from pathlib import Path
from typing import Any

import pytest
from identify.vendor.licenses import LICENSES

from gitaly._pb.repository_pb2 import FindLicenseRequest, FindLicenseResponse
from gitaly.errors import Internal, NotFound
from gitaly.git import Git, Objects
from gitaly.services.repository import LicenseServicer
from gitaly.services.repository.licenses import LicenseMatcher, is_canonical, is_license_file
from gitaly.services.repository.licenses.catalogue import CATALOGUE
from gitaly.storage import Blocking, Storages
from tests.git.support import Bare
from tests.services.repository.conftest import Started
from tests.services.repository.filling import commit_files
from tests.storage.support import message

CALL: Any = None  # none of these calls looks at it
TEXTS = dict(LICENSES)
MIT = TEXTS["MIT"].replace("[year]", "2020").replace("[fullname]", "Jane Doe").encode()
APACHE = TEXTS["Apache-2.0"].encode()
NOBODYS = b"This text is the licence of nobody in particular, and nobody ever signed it. " * 3
IS_MIT = FindLicenseResponse(
    license_short_name="mit",
    license_name="MIT License",
    license_url="https://opensource.org/licenses/MIT",
    license_path="LICENSE",
)


@pytest.fixture
def licenses(storages: Storages, git: Git, objects: Objects) -> LicenseServicer:
    return LicenseServicer(storages, objects=objects, formats=git.formats, blocking=Blocking())


@pytest.fixture(scope="module")
def matcher() -> LicenseMatcher:
    return LicenseMatcher()


async def found(licenses: LicenseServicer, **more: Any) -> FindLicenseResponse:
    return await licenses.FindLicense(FindLicenseRequest(repository=message(**more)), CALL)


async def test_a_known_licence_is_told_with_all_that_is_known_of_it(
    licenses: LicenseServicer, either: Bare
) -> None:
    commit_files(either, {"LICENSE": MIT, "a": b"a"})
    assert await found(licenses) == IS_MIT


@pytest.mark.parametrize(
    ("files", "short_name", "path"),
    [
        ({"LICENSE": NOBODYS}, "other", "LICENSE"),
        ({"LICENSE": b""}, "other", "LICENSE"),
        ({"README.md": b"MIT License", "LICENSE-README.txt": MIT, "a": MIT}, "", ""),
        ({"legal/LICENSE": MIT}, "", ""),
        ({"LICENSE": b"docs/mit.txt\n", "docs/mit.txt": MIT}, "mit", "docs/mit.txt"),
        ({"LICENSE": b"./mit.txt", "mit.txt": MIT}, "mit", "mit.txt"),
        ({"LICENSE": b"../../etc/passwd\n"}, "other", "LICENSE"),
        ({"LICENSE": b"/etc/passwd\n"}, "other", "LICENSE"),
        ({"LICENSE": b"a\0b\n"}, "other", "LICENSE"),
        ({"LICENSE": MIT, "LICENSE-3RD-PARTY.md": APACHE}, "mit", "LICENSE"),
        ({"COPYING": APACHE + NOBODYS * 9, "COPYING-MIT": MIT}, "apache-2.0", "COPYING"),
        ({"LICENSE-APACHE": APACHE, "LICENSE-MIT": MIT}, "mit", "LICENSE-MIT"),
        ({"LICENSE.txt": b"x" * (2 << 20)}, "other", "LICENSE.txt"),
    ],
)
async def test_the_licence_is_looked_for_in_the_root(
    licenses: LicenseServicer, bare: Bare, files: dict[str, bytes], short_name: str, path: str
) -> None:
    commit_files(bare, files)
    response = await found(licenses)
    assert (response.license_short_name, response.license_path) == (short_name, path)
    if short_name == "other":
        assert (response.license_name, response.license_nickname) == ("Other", "LICENSE")


async def test_a_repository_without_commits_has_no_licence(
    licenses: LicenseServicer, bare: Bare
) -> None:
    assert await found(licenses) == FindLicenseResponse()


async def test_a_missing_repository_is_an_error(licenses: LicenseServicer, root: Path) -> None:
    with pytest.raises(NotFound):
        await found(licenses)


async def test_the_answer_is_remembered_until_head_moves(
    licenses: LicenseServicer, bare: Bare, started: Started
) -> None:
    commit = commit_files(bare, {"LICENSE": MIT})
    assert await found(licenses) == IS_MIT
    bare.git("update-ref", "-d", "refs/heads/main")
    assert await found(licenses) == FindLicenseResponse()
    bare.git("update-ref", "refs/heads/main", commit)
    assert await found(licenses) == IS_MIT
    assert [name for name in started.subcommands if name != "rev-parse"] == []


async def test_what_a_quarantine_hides_is_not_remembered(
    licenses: LicenseServicer, bare: Bare
) -> None:
    commit_files(bare, {"LICENSE": MIT})
    await asyncio.to_thread(Path(bare.path, "quarantine").mkdir)
    with pytest.raises(Internal) as caught:
        await found(licenses, git_object_directory="quarantine")
    assert caught.value.message == (
        'detect licenses: ls-tree failed: exit status 128, stderr: "fatal: not a tree object\\n"'
    )
    assert await found(licenses) == IS_MIT


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_text_of_the_catalogue_is_recognised(matcher: LicenseMatcher, name: str) -> None:
    text = TEXTS[name].replace("[year]", "2020").replace("[fullname]", "Joe").replace("\n", "\r\n")
    match = matcher.best("> " + text.replace("\n", "\n> "))
    assert match is not None
    assert match.license == CATALOGUE[name]


@pytest.mark.parametrize(
    ("text", "short_name"),
    [
        ("See https://opensource.org/licenses/MIT.", "mit"),
        ("Licensed under <http://www.apache.org/licenses/LICENSE-2.0>", "apache-2.0"),
        ("# MIT\n\n" + MIT.decode().partition("\n\n")[2], "mit"),
        ("Foo\n\n" + MIT.decode() + "\n\nWith many thanks to all contributors. " * 5, "mit"),
        (MIT.decode()[:600], None),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_texts_need_not_be_the_known_ones_to_the_letter(
    matcher: LicenseMatcher, text: str, short_name: str | None
) -> None:
    match = matcher.best(text)
    assert (match and match.license.short_name) == short_name


@pytest.mark.parametrize(
    ("texts", "short_name"),
    [
        (["BSD-2-Clause", "BSD-3-Clause"], "bsd-3-clause"),
        (["0BSD", "ISC"], "isc"),
        (["MIT", "Apache-2.0"], "mit"),
        (["Apache-2.0", "MIT"], "apache-2.0"),
        (["BSD-3-Clause", "MIT", "MPL-2.0"], "bsd-3-clause"),
    ],
)
def test_of_several_licences_in_a_text_the_first_counts_and_of_similar_ones_the_fuller(
    matcher: LicenseMatcher, texts: list[str], short_name: str
) -> None:
    match = matcher.best("\n\n---\n\n".join(TEXTS[name] for name in texts))
    assert match is not None
    assert match.license.short_name == short_name


def test_clauses_need_no_numbers_and_the_holder_may_be_named(matcher: LicenseMatcher) -> None:
    text = TEXTS["BSD-3-Clause"].replace("the copyright holder nor", "Jane Doe, Inc. nor")
    for number in ("1. ", "2. ", "3. "):
        text = text.replace(number, "   * ")
    match = matcher.best("Jane's program\n\n" + text.partition("\n\n")[2] + "\nThanks! " * 400)
    assert match is not None
    assert match.license.short_name == "bsd-3-clause"


def test_files_are_told_by_their_names() -> None:
    for name in (
        b"LICENSE",
        b"licence.md",
        b"MIT-LICENSE.txt",
        b"COPYING.LESSER",
        b"gpl-3.0",
        b"x_bsd",
    ):
        assert is_license_file(name)
    for name in (b"README", b"licensee", b"LICENSE-README.md", b"permit", b"a", b""):
        assert not is_license_file(name)
    for name in (b"LICENSE", b"Copying.txt", b"unlicense", b"LICENCE.rst"):
        assert is_canonical(name)
    for name in (b"LICENSE-MIT", b"COPYING.LESSER", b"licenses"):
        assert not is_canonical(name)
