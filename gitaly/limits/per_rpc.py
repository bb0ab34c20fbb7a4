"""The limits of one method: for callers with a user name, and for those without."""

from collections.abc import Iterator
from dataclasses import dataclass

from gitaly.limits.limiter import Limiter


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodLimits:
    """None: not limited."""

    authenticated: Limiter | None
    unauthenticated: Limiter | None = None  # None: callers without a name meet the other one

    def __iter__(self) -> Iterator[Limiter]:
        """Those that there are."""
        return (limiter for limiter in (self.authenticated, self.unauthenticated) if limiter)

    def limiter(self, *, has_username: bool, tells_apart: bool) -> Limiter | None:
        """The limiter for a call; `tells_apart`: the feature flag limit_unauthenticated."""
        if self.unauthenticated is not None and tells_apart and not has_username:
            return self.unauthenticated
        return self.authenticated
