"""Who is told what, and when: the `alerts:` of routes.yaml after it was read and checked.

Addresses may stand here; secrets never do, only the names of the variables that hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

AlertKind = Literal["budgets", "projections", "refusals", "breakers", "audit"]
DigestPeriod = Literal["day", "week"]
KINDS: tuple[AlertKind, ...] = ("budgets", "projections", "refusals", "breakers", "audit")
"""All that a destination can be told of beside digests."""
THRESHOLDS = (50, 80, 100)
"""Per cent of a budget at which is told, where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where alerts go.

    `url` is None for e-mail, and where `url_env` names the variable that holds it. `budgets` are
    the names of those it is told of, None for all. `waits` is whether quiet hours hold for it.
    """

    name: str
    kind: Literal["webhook", "slack", "email"]
    url: str | None = None
    url_env: str | None = None
    secret_env: str | None = None
    to: tuple[str, ...] = ()
    kinds: frozenset[AlertKind] = frozenset(KINDS)
    budgets: frozenset[str] | None = None
    digests: frozenset[DigestPeriod] = frozenset()
    waits: bool = True
    residency: Literal["cloud", "on_prem"] = "cloud"

    def wants(self, kind: AlertKind, budget: str | None = None) -> bool:
        """Whether it is told of such things, and of this budget if it is about one."""
        told = self.budgets is None or budget is None or budget in self.budgets
        return kind in self.kinds and told


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The server that takes e-mail; `sender` is the address it comes from."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    username: str | None = None
    password_env: str | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told of a budget: at which per cent of its limit, ascending, and whether a
    projection beyond the limit is."""

    thresholds: tuple[int, ...] = THRESHOLDS
    projected: bool = True


@dataclass(frozen=True, slots=True)
class RefusalRate:
    """So many per cent of a job's requests, of at least so many in so many minutes."""

    percent: int = 5
    requests_at_least: int = 20
    minutes: int = 10


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Minutes of the day, in the organisation's zone, between which nobody is disturbed.

    It may go over midnight. With `weekends` Saturday and Sunday are quiet as a whole.
    """

    starts: int
    ends: int
    weekends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """All of it. `digest_at` and `audit_at` are minutes of the day in the organisation's zone."""

    destinations: Mapping[str, Destination] = field(default_factory=lambda: MappingProxyType({}))
    mail: MailServer | None = None
    telling: Telling = Telling()
    budgets: Mapping[str, Telling] = field(default_factory=lambda: MappingProxyType({}))
    """For those budgets that say otherwise, by name."""
    refusals: RefusalRate = RefusalRate()
    quiet: QuietHours | None = None
    digest_at: int = 8 * 60
    audit_at: int = 3 * 60

    def of_budget(self, name: str) -> Telling:
        """What is told of a budget."""
        return self.budgets.get(name, self.telling)

    def wanting(self, kind: AlertKind, budget: str | None = None) -> list[Destination]:
        """The destinations that are told of such things."""
        return [one for one in self.destinations.values() if one.wants(kind, budget)]


NO_ALERTS = AlertRules()
