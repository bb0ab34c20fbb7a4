from pathlib import Path

import pytest

from gitaly._pb import shared_pb2
from gitaly.errors import (
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NodeError,
    NotFound,
)
from gitaly.storage import (
    NotADirectory,
    RepositoryNotFound,
    RepositoryNotValid,
    Storages,
    check_loose,
)
from tests.storage.support import message, skeleton


def refusal(storages: Storages, given: shared_pb2.Repository) -> tuple[type[NodeError], str]:
    with pytest.raises(NodeError) as caught:
        storages.existing(given)
    return caught.type, caught.value.message


def test_a_repository_is_found_with_all_that_the_request_says(
    storages: Storages, root: Path
) -> None:
    path = skeleton(root, "@hashed/aa/bb/x.git")
    found = storages.existing(
        message(
            "@hashed/aa/bb/x.git",
            git_object_directory="objects/tmp_objdir-incoming-1",
            git_alternate_object_directories=["objects"],
            gl_repository="project-1",
            gl_project_path="group/project",
        )
    )
    assert found.path == str(path)
    assert (found.storage_name, found.storage_path) == ("default", str(root))
    assert found.relative_path == "@hashed/aa/bb/x.git"
    assert found.git_object_directory == "objects/tmp_objdir-incoming-1"
    assert found.git_alternate_object_directories == ("objects",)
    assert (found.gl_repository, found.gl_project_path) == ("project-1", "group/project")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (shared_pb2.Repository(), (InvalidRequest, "repository not set")),
        (message(""), (InvalidRequest, "repository path not set")),
        (message("a.git", ""), (InvalidRequest, "storage name not set")),
        (message("../x", "no"), (InvalidRequest, "storage name not found")),
        (message("../x", "missing"), (NotFound, "storage does not exist")),
    ],
)
def test_the_first_reason_to_refuse_is_named(
    storages: Storages, given: shared_pb2.Repository, expected: tuple[type[NodeError], str]
) -> None:
    assert refusal(storages, given) == expected


@pytest.mark.parametrize("path", ["..", "../x", "/../x", "a/../../x", "../storage-missing/x"])
def test_a_path_that_leaves_the_storage_is_refused(storages: Storages, path: str) -> None:
    kind, text = refusal(storages, message(path))
    assert issubclass(kind, InvalidRequest)
    assert text == "relative path escapes root directory"
    with pytest.raises(InvalidRequest, match="relative path escapes root directory"):
        storages.creatable(message(path))


@pytest.mark.parametrize("path", ["a.git", "/a.git", "//a.git/", "x/../a.git", "../storage/a.git"])
def test_a_path_that_stays_in_the_storage_is_taken_however_it_is_written(
    storages: Storages, root: Path, path: str
) -> None:
    skeleton(root)
    found = storages.existing(message(path))
    assert (found.path, found.relative_path) == (f"{root}/a.git", path)


def test_the_storage_itself_can_be_a_repository(storages: Storages, root: Path) -> None:
    skeleton(root, ".")
    assert storages.existing(message(".")).path == str(root)


def test_absolute_paths_count_as_below_the_storage(storages: Storages) -> None:
    assert refusal(storages, message("/etc")) == (RepositoryNotFound, "repository not found")


def test_what_is_not_there_is_not_found(storages: Storages) -> None:
    with pytest.raises(RepositoryNotFound) as caught:
        storages.existing(message("a/b.git"))
    assert caught.value.message == "repository not found"
    assert caught.value.metadata == {"storage_name": "default", "relative_path": "a/b.git"}
    assert isinstance(caught.value, NotFound)


@pytest.mark.parametrize("missing", ["objects", "refs", "HEAD"])
def test_a_directory_without_one_of_three_entries_is_no_repository(
    storages: Storages, root: Path, missing: str
) -> None:
    path = skeleton(root)
    (path / missing).rename(root / "elsewhere")
    expected = f'repository not valid: "{missing}" does not exist'
    assert refusal(storages, message()) == (RepositoryNotValid, expected)
    assert issubclass(RepositoryNotValid, FailedPrecondition)
    assert storages.exists(message()) is False


def test_a_file_is_no_repository(storages: Storages, root: Path) -> None:
    (root / "a.git").write_text("")
    expected = "validate git directory: not a directory"
    assert refusal(storages, message()) == (NotADirectory, expected)
    assert refusal(storages, message("a.git/b.git")) == (NotADirectory, expected)
    with pytest.raises(Internal) as caught:
        storages.exists(message())
    assert caught.value.message == expected
    with pytest.raises(Internal) as caught:
        storages.existing_objects(message())
    assert caught.value.message == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a\0b", "relative path contains a null byte"),
        ("a" * 256, "relative path is not valid: file name too long"),
        ("a/" * 3000, "relative path is not valid: file name too long"),
    ],
)
def test_a_path_that_no_file_system_holds_is_refused_without_a_path_of_the_server(
    storages: Storages, path: str, text: str
) -> None:
    kind, given = refusal(storages, message(path))
    assert issubclass(kind, InvalidRequest)
    assert given == text
    with pytest.raises(InvalidRequest) as caught:
        storages.creatable(message(path))
    assert caught.value.message == text


def test_existence_is_told_without_an_error(storages: Storages, root: Path) -> None:
    assert storages.exists(message()) is False
    skeleton(root)
    assert storages.exists(message()) is True


@pytest.mark.parametrize("link", ["@hashed", "@hashed/aa", "@hashed/aa/a.git"])
def test_a_link_out_of_the_storage_is_refused_at_every_depth(
    storages: Storages, root: Path, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    skeleton(outside, "@hashed/aa/a.git")
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(outside / link)
    given = message("@hashed/aa/a.git")
    for ask in (storages.existing, storages.creatable, storages.exists):
        with pytest.raises(InvalidRequest) as caught:
            ask(given)
        assert caught.value.message == "relative path escapes root directory"


def test_a_link_to_a_place_beside_the_storage_with_the_same_beginning_is_refused(
    storages: Storages, root: Path, tmp_path: Path
) -> None:
    skeleton(tmp_path, "storage-2/a.git")
    (root / "a.git").symlink_to(tmp_path / "storage-2/a.git")
    with pytest.raises(InvalidRequest, match="relative path escapes root directory"):
        storages.existing(message())


def test_a_link_within_the_storage_is_followed(storages: Storages, root: Path) -> None:
    skeleton(root, "real/a.git")
    (root / "link").symlink_to("real")
    assert storages.existing(message("link/a.git")).path == f"{root}/link/a.git"
    assert storages.creatable(message("link/new.git")).path == f"{root}/link/new.git"


def test_a_link_to_nowhere_is_refused_before_something_is_made_through_it(
    storages: Storages, root: Path, tmp_path: Path
) -> None:
    (root / "link").symlink_to(tmp_path / "later")
    with pytest.raises(InvalidRequest, match="relative path escapes root directory"):
        storages.creatable(message("link/a.git"))


def test_the_storage_itself_may_be_a_link_and_may_be_moved(root: Path, tmp_path: Path) -> None:
    skeleton(root)
    link = tmp_path / "link"
    link.symlink_to(root)
    storages = Storages([("default", str(link))])
    assert storages.existing(message()).path == f"{link}/a.git"
    link.unlink()
    skeleton(tmp_path / "other")
    link.symlink_to(tmp_path / "other")
    assert storages.existing(message()).path == f"{link}/a.git"


@pytest.mark.parametrize("path", ["new.git", "a/b/c/new.git", "+gitaly/x"])
def test_a_new_repository_needs_nothing_but_its_storage(storages: Storages, path: str) -> None:
    assert storages.creatable(message(path)).path.endswith(f"/storage/{path}")


def test_a_quarantine_of_the_repository_is_taken(storages: Storages, root: Path) -> None:
    skeleton(root, "x/a.git")
    prefix = storages.existing(message("x/a.git")).quarantine_prefix
    assert prefix == "quarantine-295df6c9c43ce6fc-"
    directory = f"../../+gitaly/tmp/{prefix}123"
    found = storages.existing(message("x/a.git", git_object_directory=directory))
    assert found.git_object_directory == directory


@pytest.mark.parametrize(
    "directory",
    [
        "..",
        ".",
        "../b.git/objects",
        "objects/../../b.git/objects",
        "/etc",
        "../../../etc",
        "../+gitaly/tmp/quarantine-0123456789abcdef-1",
        "../+gitaly/tmp/repo123",
        "objects\0",
    ],
)
def test_an_object_directory_elsewhere_never_reaches_git(
    storages: Storages, root: Path, directory: str
) -> None:
    skeleton(root)
    skeleton(root, "b.git")
    for given in (
        message(git_object_directory=directory),
        message(git_alternate_object_directories=["objects", directory]),
    ):
        with pytest.raises(InvalidRequest) as caught:
            storages.existing(given)
        assert caught.value.message == (
            "not a valid relative path: relative path escapes root directory"
        )


def test_an_object_directory_that_is_a_link_out_of_the_storage_is_refused(
    storages: Storages, root: Path, tmp_path: Path
) -> None:
    (skeleton(root) / "q").symlink_to(tmp_path)
    with pytest.raises(InvalidRequest, match="not a valid relative path"):
        storages.existing(message(git_object_directory="q/objects"))


def test_a_repository_of_elsewhere_must_only_be_named() -> None:
    check_loose(message("../x", "elsewhere"))
    with pytest.raises(InvalidRequest, match="repository not set"):
        check_loose(shared_pb2.Repository())
    with pytest.raises(InvalidRequest, match="repository path not set"):
        check_loose(message(""))


POOL = "@pools/ab/cd/abcd" + "0" * 60 + ".git"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (POOL, True),
        ("@cluster/pools/ab/cd/1", True),
        ("@cluster/repositories/ab/cd/1", False),
        ("@pools/aa/cd/abcd" + "0" * 60 + ".git", False),
        ("@hashed/ab/cd/abcd" + "0" * 60 + ".git", False),
    ],
)
def test_pools_are_known_by_their_path(storages: Storages, path: str, expected: bool) -> None:
    assert storages.creatable(message(path)).is_object_pool is expected


def test_several_names_for_one_path_are_one_path_to_walk(root: Path) -> None:
    storages = Storages([("a", str(root)), ("b", f"{root}/"), ("c", "/other")])
    assert storages.distinct_paths() == [str(root), "/other"]
    assert [storage.name for storage in storages] == ["a", "b", "c"]
