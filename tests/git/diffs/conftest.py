import pytest

from tests.git.support import Bare, bare


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def repository(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Bare:
    return bare(tmp_path_factory.mktemp("d"), f"--object-format={request.param}")
