"""Every table of the books, on one page.

The organisation stands in every key, so the books can be spread over several databases by it.
Amounts are nano-dollars, times are microseconds since 1970 in UTC, all as 64-bit integers.

Which balances a hold or an entry moves is written beside it as a list of balance numbers, such
as "3 17 204", in ascending order. One GROUP BY over that column is then enough to rebuild every
balance from the entries, and so to check it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, Text, UniqueConstraint
from sqlmodel import Field, SQLModel


def _big(*, key: bool = False, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, primary_key=key, nullable=nullable, autoincrement=False)


def _hold_id(*, key: bool = False) -> Column[str]:
    """The id of a hold, compared by its bytes: the entries of a request are a range of ids."""
    kind = Text().with_variant(Text(collation="C"), "postgresql")
    return Column(kind, primary_key=key, nullable=False)


class Team(SQLModel, table=True):
    """Who pays."""

    __tablename__ = "teams"
    org: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    created_at: int = Field(sa_column=_big())
    contact: str = ""
    """Whom to ask, in their own words; may be empty."""


class App(SQLModel, table=True):
    """Who calls; an app belongs to one team."""

    __tablename__ = "apps"
    org: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    team: str
    created_at: int = Field(sa_column=_big())
    contact: str = ""


class Key(SQLModel, table=True):
    """The secret that proves who calls; only its SHA-256 is here."""

    __tablename__ = "keys"
    __table_args__ = (UniqueConstraint("hash", name="uq_keys_hash"),)
    org: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    hash: str
    hint: str
    """The last four characters of the secret, for people to tell keys apart."""
    role: str
    team: str
    app: str
    jobs: str
    """Names of the jobs it may use, separated by spaces; "*" for all."""
    default_job: str | None = None
    budget_nanos: int | None = Field(default=None, sa_column=_big(nullable=True))
    budget_period: str | None = None
    created_at: int = Field(sa_column=_big())
    expires_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    revoked_at: int | None = Field(default=None, sa_column=_big(nullable=True))
    addresses: str = ""
    """Networks it may be used from, separated by spaces; empty for anywhere."""
    old_hash: str | None = None
    """Of the secret before the last rotation, which is good until `old_until`."""
    old_until: int | None = Field(default=None, sa_column=_big(nullable=True))


class Counter(SQLModel, table=True):
    """A number that only grows: of balances, of the keys' revision, the end of closed months."""

    __tablename__ = "counters"
    org: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    value: int = Field(sa_column=_big())


class Balance(SQLModel, table=True):
    """One budget, for one subject, in one period: a projection of holds and entries."""

    __tablename__ = "balances"
    __table_args__ = (
        UniqueConstraint(
            "org", "budget", "subject", "unit", "starts_at", name="uq_balances_period"
        ),
    )
    org: str = Field(primary_key=True)
    id: int = Field(sa_column=_big(key=True))
    budget: str
    subject: str
    """The team, app, key, job or tag value it is for; empty for the organisation."""
    unit: str
    period: str
    hard: bool
    starts_at: int = Field(sa_column=_big())
    ends_at: int = Field(sa_column=_big())
    limit_value: int = Field(sa_column=_big())
    """The limit at the last admission, in the budget's unit (law 4 is checked against it)."""
    spent: int = Field(sa_column=_big())
    held: int = Field(sa_column=_big())
    overrun: int = Field(sa_column=_big())
    """By how much entries in it went over the ceilings of their holds (law 4)."""
    carried: int | None = Field(default=None, sa_column=_big(nullable=True))
    """The part of the limit that the period before left over; null until the first admission."""
    raised: int = Field(default=0, sa_column=_big())
    """The part of the limit that temporary raises added."""


class BudgetRaise(SQLModel, table=True):
    """More, or less, money for a budget for a while; never edited, never deleted."""

    __tablename__ = "budget_raises"
    org: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    budget: str
    subject: str
    """The subject of the budget that it is for; empty for every one."""
    amount: int = Field(sa_column=_big())
    """In the budget's unit; negative in a row that takes a raise back."""
    starts_at: int = Field(sa_column=_big())
    until: int = Field(sa_column=_big())
    reason: str
    author: str
    created_at: int = Field(sa_column=_big())
    withdraws: str
    """The id of the raise that this row ends early, or empty."""


class LimitChange(SQLModel, table=True):
    """A limit of routes.yaml that changed within a period, when it was first used."""

    __tablename__ = "limit_changes"
    org: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    balance: int = Field(sa_column=_big())
    old_limit: int = Field(sa_column=_big())
    """As routes.yaml had it: without raises, and without what was carried over."""
    new_limit: int = Field(sa_column=_big())
    changed_at: int = Field(sa_column=_big())
    source: str


class Hold(SQLModel, table=True):
    """Money set aside for one attempt at a provider; the row is deleted when the hold ends."""

    __tablename__ = "holds"
    __table_args__ = (Index("ix_holds_lapse", "org", "lapses_at"),)
    org: str = Field(primary_key=True)
    id: str = Field(sa_column=_hold_id(key=True))
    instance: str
    """Which running gateway opened it."""
    admitted_at: int = Field(sa_column=_big())
    lapses_at: int = Field(sa_column=_big())
    ceiling_nanos: int = Field(sa_column=_big())
    ceiling_tokens: int = Field(sa_column=_big())
    request_count: int = Field(sa_column=_big())
    balances: str
    draft: str
    """What is known of the entry already, as JSON, so that anybody can let the hold lapse."""


class EntryRow(SQLModel, table=True):
    """One line of the ledger; never edited, never deleted. Its id is the id of its hold."""

    __tablename__ = "entries"
    __table_args__ = (Index("ix_entries_admitted", "org", "admitted_at"),)
    org: str = Field(primary_key=True)
    id: str = Field(sa_column=_hold_id(key=True))
    kind: str
    request_id: str
    attempt: int
    admitted_at: int = Field(sa_column=_big())
    recorded_at: int = Field(sa_column=_big())
    key_id: str
    team: str
    app: str
    job: str
    target: str
    provider: str
    residency: str
    """Where the provider is: cloud or on_prem."""
    confined: bool
    """Whether the job may use on-prem targets alone (law 11)."""
    model: str
    model_served: str
    upstream_id: str
    service_tier: str
    stage: str
    tags: str
    stream: bool
    outcome: str
    quality: str
    input: int = Field(sa_column=_big())
    cache_read: int = Field(sa_column=_big())
    cache_read_audio: int = Field(sa_column=_big())
    cache_write: int = Field(sa_column=_big())
    cache_write_1h: int = Field(sa_column=_big())
    output: int = Field(sa_column=_big())
    reasoning: int = Field(sa_column=_big())
    audio_input: int = Field(sa_column=_big())
    audio_output: int = Field(sa_column=_big())
    image_input: int = Field(sa_column=_big())
    image_output: int = Field(sa_column=_big())
    requests: int = Field(sa_column=_big())
    tokens: int = Field(sa_column=_big())
    request_count: int = Field(sa_column=_big())
    amount_nanos: int = Field(sa_column=_big())
    ceiling_nanos: int = Field(sa_column=_big())
    ceiling_tokens: int = Field(sa_column=_big())
    prices: str
    balances: str
    changed: str
    decision: str = ""
    """How the attempt was decided, as JSON (see `ledger.entries.Decision`); empty when there is
    nothing to say."""
    corrects: str = Field(sa_column=_hold_id())
    """The id of the entry that this one corrects, or empty."""
    reason: str
    author: str


class Rollup(SQLModel, table=True):
    """Sums of entries by hour and the dimensions that pages ask for; moves in their commit."""

    __tablename__ = "rollups"
    org: str = Field(primary_key=True)
    hour: int = Field(sa_column=_big(key=True))
    """Whole hours since 1970, UTC, of the admission."""
    team: str = Field(primary_key=True)
    app: str = Field(primary_key=True)
    job: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    stage: str = Field(primary_key=True)
    quality: str = Field(primary_key=True)
    entries: int = Field(sa_column=_big())
    request_count: int = Field(sa_column=_big())
    input: int = Field(sa_column=_big())
    cache_read: int = Field(sa_column=_big())
    cache_read_audio: int = Field(sa_column=_big())
    cache_write: int = Field(sa_column=_big())
    cache_write_1h: int = Field(sa_column=_big())
    output: int = Field(sa_column=_big())
    reasoning: int = Field(sa_column=_big())
    audio_input: int = Field(sa_column=_big())
    audio_output: int = Field(sa_column=_big())
    image_input: int = Field(sa_column=_big())
    image_output: int = Field(sa_column=_big())
    requests: int = Field(sa_column=_big())
    tokens: int = Field(sa_column=_big())
    amount_nanos: int = Field(sa_column=_big())


class ClosedMonth(SQLModel, table=True):
    """A month that finance has closed: nothing is posted into it any more."""

    __tablename__ = "closed_months"
    org: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    """Such as 2026-10, in the organisation's time zone."""
    starts_at: int = Field(sa_column=_big())
    ends_at: int = Field(sa_column=_big())
    closed_at: int = Field(sa_column=_big())
    author: str
    entries: int = Field(sa_column=_big())
    """How many entries it had when it was closed, and has for ever."""
    amount_nanos: int = Field(sa_column=_big())


class Idempotency(SQLModel, table=True):
    """A request that came with an Idempotency-Key: who it was, never what was asked or answered."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_expires", "org", "expires_at"),)
    org: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    """SHA-256 of the idempotency key."""
    body_digest: str
    """HMAC of the request under the idempotency key, which is not kept."""
    request_id: str
    instance: str
    """Which running gateway it came to."""
    state: str
    status: int = Field(sa_column=_big())
    created_at: int = Field(sa_column=_big())
    open_until: int = Field(sa_column=_big())
    expires_at: int = Field(sa_column=_big())


class ConfigVersion(SQLModel, table=True):
    """A version of the routing rules that went live; never edited, never deleted."""

    __tablename__ = "config_versions"
    org: str = Field(primary_key=True)
    number: int = Field(sa_column=_big(key=True))
    """From 1 on, in the order in which versions went live."""
    hash: str
    """SHA-256 of all files."""
    root: str
    """The name of routes.yaml among the files."""
    files: str
    """Every file with its whole text, as JSON: what is included and prompts too."""
    prices: str
    """The version of the price book beside it."""
    live_at: int = Field(sa_column=_big())
    cause: str
    """start, file, signal, api or rollback."""
    author: str
    reason: str
    instance: str
    """Which running gateway it went live in first; empty for what the command line wrote."""


class ChangeRow(SQLModel, table=True):
    """Who changed what; the database refuses to edit or delete a row."""

    __tablename__ = "changes"
    org: str = Field(primary_key=True)
    number: int = Field(sa_column=_big(key=True))
    """From 1 on, without a gap."""
    at: int = Field(sa_column=_big())
    who: str
    role: str
    """The role it was made with; empty on the command line, which asks for none."""
    origin: str
    """The address, or the machine whose command line it was."""
    what: str
    subject: str
    team: str
    before: str
    """What it was, as JSON without any secret; empty when it was not there."""
    after: str
    previous: str
    """The hash of the row before; empty in the first."""
    hash: str


class SessionRow(SQLModel, table=True):
    """Somebody who is signed in to the pages; only the SHA-256 of the session's token is here."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_expires", "org", "expires_at"),)
    org: str = Field(primary_key=True)
    hash: str = Field(primary_key=True)
    principal: str
    """The id of a key, or the name of a person."""
    role: str
    """Of a person; a key has the role that it has now."""
    key_hash: str
    """Of the secret that a key signed in with; empty for a person."""
    method: str
    created_at: int = Field(sa_column=_big())
    expires_at: int = Field(sa_column=_big())


class AlertClaim(SQLModel, table=True):
    """Something that was told, or done: whoever writes its key first tells it, and nobody again."""

    __tablename__ = "alert_claims"
    org: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    expires_at: int = Field(sa_column=_big())


class AlertDelivery(SQLModel, table=True):
    """An alert (its key) on its way to a destination; no word of a request, and no secret."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        UniqueConstraint("org", "alert", "destination", name="uq_alert_deliveries_once"),
        Index("ix_alert_deliveries_due", "org", "state", "due_at"),
    )
    org: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    alert: str
    destination: str
    message: str
    urgent: bool
    state: str
    attempts: int = Field(sa_column=_big())
    due_at: int = Field(sa_column=_big())
    created_at: int = Field(sa_column=_big())
    ended_at: int = Field(sa_column=_big())
    error: str


ROLLUP_DIMENSIONS = ("team", "app", "job", "target", "stage", "quality")
ROLLUP_SUMS = tuple(
    name for name in Rollup.model_fields if name not in ("org", "hour", *ROLLUP_DIMENSIONS)
)
METADATA: MetaData = SQLModel.metadata
