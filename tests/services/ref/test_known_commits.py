from gitaly._pb.shared_pb2 import GitCommit
from gitaly.services.ref.known_commits import OVERHEAD_BYTES, KnownCommits


def test_commits_are_known_for_each_repository() -> None:
    known = KnownCommits()
    known.add("a", {"1": GitCommit(id="1")})
    assert known.of("a") == {"1": GitCommit(id="1")}
    assert known.of("b") == {}


def test_the_repository_asked_longest_ago_is_forgotten_first() -> None:
    known = KnownCommits(limit_bytes=3 * OVERHEAD_BYTES)
    for path in "abc":
        known.add(path, {"1": GitCommit()})
    known.of("a")
    known.add("d", {"1": GitCommit()})
    assert [len(known.of(path)) for path in "abcd"] == [1, 0, 1, 1]
    assert known.bytes == 3 * OVERHEAD_BYTES


def test_one_repository_alone_does_not_outgrow_the_limit() -> None:
    known = KnownCommits(limit_bytes=10 * OVERHEAD_BYTES)
    for number in range(100):
        known.add("a", {f"{number}": GitCommit(body=b"x" * 100)})
        assert known.bytes <= 10 * OVERHEAD_BYTES
    known.add("a", {str(number): GitCommit() for number in range(11)})
    assert known.bytes == 0
    assert known.of("a") == {}
