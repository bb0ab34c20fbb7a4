"""Who is let in: judges every call by the tokens that are valid at that moment.

Source: Gitaly, internal/gitaly/server/auth/auth.go.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from gitaly.observe.log import Logger
from gitaly.rpc.bearer import NoToken, Reason, Refusal, WrongToken, check_token
from gitaly.rpc.call import Call
from gitaly.rpc.refusal_log import RefusalLog
from gitaly.rpc.token_use import TokenUse, TokenUses
from gitaly.token import MODE_KEY, TEST_KEY, TIME_KEY, VERDICT_KEY, fingerprints

MOST_WITHDRAWN: Final = 4  # that are still known by name
REFERENCE_ERRORS: Final = MappingProxyType(
    {
        Reason.WRONG_SECRET: "wrong hmac signature",
        Reason.WITHDRAWN: "wrong hmac signature",
        Reason.EMPTY_SECRET: "wrong hmac signature",
        Reason.UNREADABLE_TIME: "cannot parse timestamp",
        Reason.EXPIRED: "token has expired",
        Reason.FROM_FUTURE: "token's validity window is in future",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthPolicy:
    """Who is let in. Raises ValueError for an empty secret: everybody could sign with it."""

    secrets: tuple[bytes, ...] = field(default=(), repr=False)  # none: everybody; each once
    transitioning: bool = False  # judge and count, but let everybody in

    def __post_init__(self) -> None:
        if not all(self.secrets) or len(set(self.secrets)) < len(self.secrets):
            raise ValueError("a secret is empty or given twice")

    @property
    def mode(self) -> str:
        """In one word, as `gitaly auth test` is told."""
        if not self.secrets:
            return "off"
        return "transitioning" if self.transitioning else "enforced"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """All that a call is judged by. Replaced as a whole, so no call sees half of a change."""

    policy: AuthPolicy
    uses: tuple[TokenUse, ...]  # of the policy's secrets, in their order
    withdrawn: tuple[TokenUse, ...]  # the latest first
    withdrawn_secrets: tuple[bytes, ...] = field(repr=False)
    internal: tuple[bytes, ...] = field(repr=False)  # the secret of hooks, or none
    inner_secrets: tuple[bytes, ...] = field(repr=False)  # for calls on the internal socket
    counted_ok: Counter
    counted_off: Counter

    @property
    def enforced(self) -> str:
        return _label(self.policy)


def _label(policy: AuthPolicy) -> str:
    return "false" if policy.transitioning else "true"


class Authenticator:
    """Judges the header of each call and counts the verdicts, with Gitaly's label values.

    `internal_secret` signs calls of our own hooks: it is good on the internal socket alone, for as
    long as the process lives, whatever becomes of the tokens.
    """

    def __init__(
        self,
        policy: AuthPolicy,
        registry: CollectorRegistry,
        clock: Callable[[], float],  # seconds since 1970
        logger: Logger,
        internal_secret: bytes = b"",
    ) -> None:
        self.refusals = RefusalLog(logger)
        self._clock = clock
        self._verdicts = Counter(
            "gitaly_authentications_total",
            "Counts of of Gitaly request authentication attempts",
            ["enforced", "status"],
            registry=registry,
        )
        self._errors = Counter(
            "gitaly_authentication_errors_total",
            "Counts of of Gitaly request authentication errors",
            ["version", "error"],
            registry=registry,
        )
        self._reasons = Counter(
            "gitaly_authentication_refusals_total",
            "Calls refused, or not let in were authentication enforced, by the reason",
            ["enforced", "reason"],
            registry=registry,
        )
        self._rules = self._made(policy, (), (internal_secret,) if internal_secret else ())
        registry.register(TokenUses(lambda: self.uses, lambda: self.mode == "enforced"))

    @property
    def mode(self) -> str:
        """What holds now: "off", "transitioning" or "enforced"."""
        return self._rules.policy.mode

    @property
    def uses(self) -> tuple[TokenUse, ...]:
        """How much the tokens are used that are valid now, in the order of the policy."""
        return self._rules.uses

    @property
    def accepted(self) -> tuple[str, ...]:
        """The fingerprints of the tokens that are valid now, in the order of the policy."""
        return tuple(use.fingerprint for use in self._rules.uses)

    def adopt(self, policy: AuthPolicy) -> tuple[str, ...]:
        """Judge by another policy from the next call on; what changed, in words for the log.

        One step: every call is judged by the old policy or by the new one. Calls that have been let
        in go on. Takes about 5 ms for each secret that was not known before.
        """
        before = self._rules
        self._rules = self._made(policy, (*before.uses, *before.withdrawn), before.internal)
        old, new = before.uses, self._rules.uses
        changes = [f"token {use.fingerprint} accepted" for use in new if use not in old]
        changes += [f"token {use.fingerprint} withdrawn" for use in old if use not in new]
        if before.policy.mode != policy.mode:
            changes.append(f"authentication {policy.mode}, was {before.policy.mode}")
        return tuple(changes)

    def _made(
        self, policy: AuthPolicy, known: tuple[TokenUse, ...], internal: tuple[bytes, ...]
    ) -> _Rules:
        by_secret = {use.secret: use for use in known}
        fresh = [secret for secret in policy.secrets if secret not in by_secret]
        names = fingerprints(fresh, [use.fingerprint for use in known])
        by_secret |= {s: TokenUse(s, name) for s, name in zip(fresh, names, strict=True)}
        withdrawn = [use for use in known if use.secret not in policy.secrets][:MOST_WITHDRAWN]
        self._begin_at_zero(policy)
        good = "would be ok" if policy.transitioning else "ok"
        return _Rules(
            policy=policy,
            uses=tuple(by_secret[secret] for secret in policy.secrets),
            withdrawn=tuple(withdrawn),
            withdrawn_secrets=tuple(use.secret for use in withdrawn),
            internal=internal,
            inner_secrets=(*policy.secrets, *internal),
            counted_ok=self._verdicts.labels(_label(policy), good),
            counted_off=self._verdicts.labels(_label(policy), "server disabled authentication"),
        )

    def _begin_at_zero(self, policy: AuthPolicy) -> None:
        """Without a first zero, the first refusals would not show as an increase."""
        for status in ("unauthenticated", "denied"):
            self._verdicts.labels(_label(policy), status)
        for reason in Reason:
            self._reasons.labels(_label(policy), reason)

    def check(self, call: Call) -> None:
        """Let a call in, or raise NoToken or WrongToken; raises nothing while transitioning."""
        rules, now = self._rules, self._clock()
        if TEST_KEY in call.metadata:
            call.trailers = _told(rules.policy.mode, "ok", now)
        if not rules.policy.secrets:
            rules.counted_off.inc()
            return
        is_inner = call.connection is not None and call.connection.is_internal
        secrets = rules.inner_secrets if is_inner else rules.policy.secrets
        header = call.metadata.get("authorization")
        try:
            place = check_token(header, secrets, now, rules.withdrawn_secrets)
        except (NoToken, WrongToken) as refusal:
            self._note(call, refusal, rules, now)
            if not rules.policy.transitioning:
                raise
            return
        rules.counted_ok.inc()
        if place < len(rules.uses):
            rules.uses[place].note(now)

    def _note(self, call: Call, refusal: Refusal, rules: _Rules, now: float) -> None:
        status = "unauthenticated" if isinstance(refusal, NoToken) else "denied"
        self._verdicts.labels(rules.enforced, status).inc()
        self._reasons.labels(rules.enforced, refusal.reason).inc()
        if error := REFERENCE_ERRORS.get(refusal.reason):
            self._errors.labels("v2", error).inc()
        if call.trailers:
            call.trailers = _told(rules.policy.mode, refusal.reason, now)
        self.refusals.note(call, refusal, is_enforced=not rules.policy.transitioning)


def _told(mode: str, verdict: str, now: float) -> tuple[tuple[str, str], ...]:
    """What `gitaly auth test` is told beside the answer: nothing that it could not find out."""
    return ((MODE_KEY, mode), (VERDICT_KEY, str(verdict)), (TIME_KEY, f"{now:.3f}"))
