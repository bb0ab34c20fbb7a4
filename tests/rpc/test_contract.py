from gitaly._pb import objectpool_pb2, repository_pb2, server_pb2, shared_pb2
from gitaly.rpc import Method, node_services

METHODS = {method.path: method for methods in node_services().values() for method in methods}


def method(path: str) -> Method:
    return METHODS[path]


def test_a_node_serves_160_calls_of_19_services() -> None:
    assert (len(METHODS), len(node_services())) == (160, 19)


def test_what_praefect_serves_is_not_served_here() -> None:
    assert "gitaly.PraefectInfoService" not in node_services()
    assert "gitaly.RefTransaction" not in node_services()


def test_a_method_knows_its_kind_operation_and_scope() -> None:
    receive = method("/gitaly.SSHService/SSHReceivePack")
    assert (receive.kind, receive.operation, receive.scope) == (
        "bidi_stream",
        "mutator",
        "repository",
    )
    walk = method("/gitaly.InternalGitaly/WalkRepos")
    assert (walk.kind, walk.operation, walk.scope) == ("server_stream", "accessor", "storage")
    info = method("/gitaly.ServerService/ServerInfo")
    assert (info.kind, info.operation, info.scope) == ("unary", "unknown", "unknown")


def test_the_target_repository_of_a_request_is_found() -> None:
    request = repository_pb2.RepositoryExistsRequest(
        repository=shared_pb2.Repository(storage_name="default", relative_path="a.git")
    )
    found = method("/gitaly.RepositoryService/RepositoryExists").target_repository(request)
    assert found is not None
    assert found.relative_path == "a.git"


def test_the_target_repository_inside_of_a_pool_is_found() -> None:
    request = objectpool_pb2.DeleteObjectPoolRequest(
        object_pool=shared_pb2.ObjectPool(repository=shared_pb2.Repository(relative_path="p.git"))
    )
    found = method("/gitaly.ObjectPoolService/DeleteObjectPool").target_repository(request)
    assert found is not None
    assert found.relative_path == "p.git"


def test_a_request_without_repository_has_no_target() -> None:
    exists = method("/gitaly.RepositoryService/RepositoryExists")
    assert exists.target_repository(repository_pb2.RepositoryExistsRequest()) is None
    info = method("/gitaly.ServerService/ServerInfo")
    assert info.target_repository(server_pb2.ServerInfoRequest()) is None
