"""What all parts of the decision know about a push."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitaly.errors import Internal
from gitaly.hooks.payload import Payload, UserDetails
from gitaly.storage import Repository
from gitaly.transactions import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One change of references on its way, seen from a hook.

    `repository` has the quarantine of the push while there is one. `environment`: of the program
    that git has started as a hook; empty for changes that the node makes itself.
    """

    repository: Repository
    user: UserDetails | None
    object_format: str = "sha1"
    environment: Mapping[str, str] = field(default_factory=dict)
    push_options: Sequence[str] = ()
    transaction: Transaction | None = None  # in which Praefect wants votes
    correlation_id: str = ""
    client_context: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of what git tells its hooks."""

    old: str
    new: str
    reference: bytes

    @property
    def is_creation(self) -> bool:
        return is_zero(self.old)

    @property
    def is_deletion(self) -> bool:
        return is_zero(self.new)


def is_zero(object_id: str) -> bool:
    """Whether it stands for no object, in either hash."""
    return not object_id.strip("0")


def changes_of(text: bytes) -> list[Change]:
    """The lines `old new ref`. Raises Internal for what git never writes."""
    found = []
    for line in text.splitlines():
        parts = line.split(b" ", 2)
        if len(parts) != 3 or not (parts[0].isalnum() and parts[1].isalnum() and parts[2]):
            raise Internal("hook got a malformed reference update")
        found.append(Change(parts[0].decode(), parts[1].decode(), parts[2]))
    return found


def push_of(
    repository: Repository,
    payload: Payload,
    environment: Mapping[str, str],
    correlation_id: str,
    push_options: Sequence[str] | None = None,
) -> Push:
    """A push as its hook sees it. `push_options` None: those that git put into the environment."""
    if push_options is None:
        push_options = _push_options(environment)
    return Push(
        repository=repository,
        user=payload.user_details,
        object_format=payload.object_format,
        environment=environment,
        push_options=push_options,
        transaction=payload.transaction,
        correlation_id=correlation_id,
        client_context=payload.client_context,
    )


def _push_options(environment: Mapping[str, str]) -> list[str]:
    count = environment.get("GIT_PUSH_OPTION_COUNT", "")
    if not (count.isascii() and count.isdigit()):
        return []
    names = (f"GIT_PUSH_OPTION_{number}" for number in range(min(int(count), len(environment))))
    return [environment[name] for name in names if name in environment]
