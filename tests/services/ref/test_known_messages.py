from gitaly.git import ListedReference
from gitaly.services.ref.known_messages import OVERHEAD_BYTES, KnownMessages, known_or_built

ONE = ListedReference(b"refs/heads/one", "1" * 40)
TWO = ListedReference(b"refs/heads/two", "1" * 40)
NEW = ListedReference(b"refs/heads/one", "2" * 40)


def test_messages_are_known_for_each_repository_and_kind() -> None:
    known = KnownMessages()
    known.add(("a", "tags"), {ONE: b"1"})
    assert known.of(("a", "tags")) == {ONE: b"1"}
    assert known.of(("a", "branches")) == {}
    assert known.of(("b", "tags")) == {}


def test_the_repository_asked_longest_ago_is_forgotten_first() -> None:
    known = KnownMessages(limit_bytes=3 * OVERHEAD_BYTES)
    for path in "abc":
        known.add((path,), {ONE: b""})
    known.of(("a",))
    known.add(("d",), {ONE: b""})
    assert [len(known.of((path,))) for path in "abcd"] == [1, 0, 1, 1]
    assert known.size_bytes == 3 * OVERHEAD_BYTES


def test_one_repository_alone_does_not_outgrow_the_limit() -> None:
    known = KnownMessages(limit_bytes=10 * OVERHEAD_BYTES)
    many = [ListedReference(b"refs/heads/%d" % number, "1" * 40) for number in range(100)]
    for one in many:
        known.add(("a",), {one: b"x" * 100})
        assert known.size_bytes <= 10 * OVERHEAD_BYTES
    known.add(("a",), dict.fromkeys(many[:11], b""))
    assert known.size_bytes == 0
    assert known.of(("a",)) == {}


async def test_what_is_not_known_is_built_and_keeps_its_place() -> None:
    asked: list[ListedReference] = []

    async def build(references: object) -> dict[ListedReference, bytes]:
        assert isinstance(references, list)
        asked.extend(references)
        return {one: one.name + one.target[:1].encode() for one in references if one is not TWO}

    found = await known_or_built({ONE: b"known"}, [NEW, ONE, TWO, NEW], build)
    assert found == [b"refs/heads/one2", b"known", b"refs/heads/one2"]
    assert asked == [NEW, TWO, NEW]
