"""In which order everybody has a say, and what a transaction changes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from gitaly.errors import Aborted, Internal, NodeError
from gitaly.hooks import Requested, UserDetails
from gitaly.hooks.authority import NotAllowed, NotCounted
from gitaly.hooks.custom import CustomHookFailed
from gitaly.hooks.manager import HookManager
from gitaly.hooks.output import Output
from gitaly.hooks.push import Push, changes_of
from gitaly.storage import Phase, Repository
from gitaly.transactions import Transaction, Voter
from tests.hooks.custom.scripts import write_hook
from tests.hooks.fixtures import Collected, Log, MakeHooks

ZERO, ONE = "0" * 40, "1" * 40
CHANGES = f"{ZERO} {ONE} refs/heads/main\n".encode()
TRANSACTION = Transaction(id=7, node="node-1", primary=True)


@dataclass
class Witness:
    """An authority and a poll that agree with everything, and remember who came when."""

    seen: list[str] = field(default_factory=list)
    against: str = ""  # what it does not agree with

    def _see(self, what: str) -> None:
        self.seen.append(what)

    def asked_by(self, _: Repository) -> Requested:
        return Requested.PRE_RECEIVE | Requested.POST_RECEIVE

    def receive_config(self, _: Repository) -> list[tuple[str, str]]:
        return []

    async def allow(self, push: Push, changes: bytes) -> None:
        self._see("allow")
        if self.against == "allow":
            raise NotAllowed("GitLab: no", reason="no", push=push, changes=changes)

    async def begin(self, _: Push) -> None:
        self._see("begin")
        if self.against == "begin":
            raise NotCounted

    async def end(self, _: Push, __: bytes, output: Output) -> None:
        self._see("end")
        await output.stdout(b"told\n")

    async def vote(self, _: Transaction, phase: Phase, digest: bytes) -> None:
        self._see(f"{phase.name} {digest.hex()}")
        if self.against == phase.name:
            raise Aborted("transaction was aborted")

    async def stop(self, _: Transaction) -> None:
        self._see("stop")


Make = Callable[[Witness], HookManager]


@pytest.fixture
def make(make_hooks: MakeHooks, journal: Log) -> Make:
    def made(witness: Witness) -> HookManager:
        return HookManager(witness, make_hooks(), partial(Voter, witness), journal.logger)

    return made


@pytest.fixture
def push(repository: Repository) -> Push:
    user = UserDetails(userid="user-1", username="u", protocol="ssh")
    return Push(repository=repository, user=user, transaction=TRANSACTION)


def digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


PRE_RECEIVE_VOTE = f"SYNCHRONIZED {digest('synchronize pre-receive hook')}"


def hooks_of(push: Push) -> Path:
    return Path(push.repository.path, "custom_hooks")


async def test_pre_receive_asks_runs_counts_and_votes(push: Push, make: Make) -> None:
    witness = Witness()
    write_hook(hooks_of(push) / "pre-receive", "cat")
    output = Collected()
    await make(witness).pre_receive(push, CHANGES, output)
    assert bytes(output.out) == CHANGES
    assert witness.seen == ["allow", "begin", PRE_RECEIVE_VOTE]
    assert PRE_RECEIVE_VOTE.endswith(" 7475a0d87cbbee23b9a7e8ccde58a494db01611f")


async def test_an_authority_that_refuses_ends_it_before_custom_hooks(
    push: Push, make: Make
) -> None:
    witness = Witness(against="allow")
    write_hook(hooks_of(push) / "pre-receive", "echo ran")
    output = Collected()
    with pytest.raises(NotAllowed, match=r"^GitLab: no$") as caught:
        await make(witness).pre_receive(push, CHANGES, output)
    assert (caught.value.reason, caught.value.changes) == ("no", CHANGES)
    assert (witness.seen, bytes(output.out)) == (["allow", "stop"], b"")


async def test_a_custom_hook_that_refuses_stops_the_others_and_nothing_is_counted(
    push: Push, make: Make
) -> None:
    witness = Witness()
    write_hook(hooks_of(push) / "pre-receive", "exit 4")
    with pytest.raises(CustomHookFailed):
        await make(witness).pre_receive(push, CHANGES, Collected())
    assert witness.seen == ["allow", "stop"]


async def test_what_is_not_counted_is_refused_without_words(push: Push, make: Make) -> None:
    witness = Witness(against="begin")
    with pytest.raises(NotCounted, match=r"^$"):
        await make(witness).pre_receive(push, CHANGES, Collected())
    assert witness.seen == ["allow", "begin", "stop"]


async def test_a_node_that_is_not_the_primary_only_votes(push: Push, make: Make) -> None:
    witness = Witness(against="allow")
    push = replace(push, transaction=Transaction(id=7, node="node-1", primary=False))
    write_hook(hooks_of(push) / "pre-receive", "exit 1")
    write_hook(hooks_of(push) / "update", "exit 1")
    write_hook(hooks_of(push) / "post-receive", "exit 1")
    manager = make(witness)
    await manager.pre_receive(push, CHANGES, Collected())
    await manager.update(push, b"refs/heads/main", ZERO, ONE, Collected())
    await manager.post_receive(push, CHANGES, Collected())
    assert witness.seen == [
        PRE_RECEIVE_VOTE,
        "SYNCHRONIZED 959087c30d483e52b9e8574a4bd58c4cd7070692",
        "SYNCHRONIZED 17709ba9f26ecc0b0109e3015ed9e824792841fb",
    ]


async def test_a_vote_against_is_told_in_the_words_of_the_reference(push: Push, make: Make) -> None:
    witness = Witness(against="SYNCHRONIZED")
    with pytest.raises(NodeError) as caught:
        await make(witness).pre_receive(push, CHANGES, Collected())
    assert caught.value.message == (
        "synchronizing pre-receive hook: vote failed: transaction was aborted"
    )
    assert "stop" not in witness.seen


async def test_without_a_transaction_nobody_votes(push: Push, make: Make) -> None:
    witness = Witness()
    manager = make(witness)
    alone = replace(push, transaction=None)
    await manager.pre_receive(alone, CHANGES, Collected())
    await manager.reference_transaction(alone, "prepared", CHANGES)
    assert witness.seen == ["allow", "begin"]


async def test_post_receive_tells_and_then_runs(push: Push, make: Make) -> None:
    witness = Witness()
    write_hook(hooks_of(push) / "post-receive", "echo ran")
    output = Collected()
    await make(witness).post_receive(push, CHANGES, output)
    assert output.out == b"told\nran\n"


@pytest.mark.parametrize(
    ("state", "vote"),
    [
        ("preparing", "PREPARING"),
        ("prepared", "PREPARED"),
        ("committed", "COMMITTED"),
        ("aborted", None),
    ],
)
async def test_states_of_a_reference_transaction_are_voted_on(
    push: Push, make: Make, state: str, vote: str | None
) -> None:
    witness = Witness()
    await make(witness).reference_transaction(push, state, CHANGES)
    expected = [f"{vote} {hashlib.sha1(CHANGES).hexdigest()}"] if vote else []
    assert witness.seen == expected


async def test_only_hooks_that_can_matter_are_wanted(push: Push, make: Make) -> None:
    manager = make(Witness())
    repository = push.repository
    both = Requested.PRE_RECEIVE | Requested.POST_RECEIVE
    assert await manager.wanted(repository, votes=False) == both
    write_hook(hooks_of(push) / "update.d/1", "")
    assert await manager.wanted(repository, votes=False) == both | Requested.UPDATE
    everything = both | Requested.UPDATE | Requested.REFERENCE_TRANSACTION
    assert await manager.wanted(repository, votes=True) == everything


@pytest.mark.parametrize(
    ("reference", "old", "new", "text"),
    [
        (b"", ZERO, ONE, "hook got no reference"),
        (b"r", "1234", ONE, 'hook got invalid old value: invalid object ID: "1234"'),
        (b"r", ZERO, "z" * 40, "hook got invalid new value: invalid object ID:"),
        (b"r", ZERO, "1" * 64, "hook got invalid new value: invalid object ID:"),
    ],
)
async def test_an_update_hook_that_git_did_not_call_is_refused(
    push: Push, make: Make, reference: bytes, old: str, new: str, text: str
) -> None:
    with pytest.raises(Internal) as caught:
        await make(Witness()).update(push, reference, old, new, Collected())
    assert caught.value.message.startswith(text)


async def test_no_changes_are_no_push(push: Push, make: Make) -> None:
    for hook in (make(Witness()).pre_receive, make(Witness()).post_receive):
        with pytest.raises(Internal, match=r"^hook got no reference updates$"):
            await hook(push, b"", Collected())


async def test_every_step_is_logged(push: Push, make: Make, journal: Log) -> None:
    manager = make(Witness())
    await manager.update(push, b"refs/heads/main", ZERO, ONE, Collected())
    write_hook(hooks_of(push) / "update", "exit 9")
    with pytest.raises(CustomHookFailed):
        await manager.update(push, b"refs/heads/main", ZERO, ONE, Collected())
    [good], [bad] = journal.lines("hook finished"), journal.lines("hook refused")
    assert (good["hook"], good["exit_status"], good["user_id"]) == ("update", 0, "user-1")
    assert (bad["exit_status"], bad["level"]) == (9, "warning")


@pytest.mark.parametrize("text", [b"a b\n", b"a b \n", b"a  c\n", b"\n"])
def test_lines_that_git_never_writes_are_an_error(text: bytes) -> None:
    with pytest.raises(Internal, match="malformed reference update"):
        changes_of(text)


def test_a_reference_may_have_spaces_and_any_bytes() -> None:
    [change] = changes_of(f"{ZERO} {ONE} refs/heads/".encode() + b"a\xff b\n")
    assert change.reference == b"refs/heads/a\xff b"
    assert change.is_creation
    assert not change.is_deletion
