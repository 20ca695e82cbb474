"""The `alerts:` of routes.yaml as it is written; what it means is known to `alert_resolving`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.jobs.schema import CLOCK, VARIABLE, Name, Text, Thresholds
from gateway.jobs.section import Section

TimeOfDay = Annotated[str, Field(pattern=CLOCK)]
Address = Annotated[str, Field(min_length=3, max_length=320)]


class DestinationSection(Section):
    """Somewhere that alerts and digests are sent to."""

    kind: Literal["webhook", "slack", "email"] = Field(
        description="webhook: signed JSON; slack: an incoming webhook of Slack, or of what "
        "understands the same (Mattermost, Rocket.Chat); email: needs alerts.email"
    )
    url: str | None = Field(default=None, min_length=1, max_length=2048)
    url_env: str | None = Field(
        default=None,
        pattern=VARIABLE,
        description="the environment variable that holds the URL, where it is a secret itself",
    )
    secret_env: str | None = Field(
        default=None,
        pattern=VARIABLE,
        description="for a webhook: the environment variable with the secret that signs",
    )
    to: list[Address] = Field(
        default_factory=list, max_length=50, description="for email: who gets it"
    )
    on: list[Literal["budgets", "projections", "refusals", "breakers", "audit"]] | None = Field(
        default=None,
        max_length=5,
        description="what it is told of: default all. [] for a destination of digests alone",
    )
    budgets: list[Name] | None = Field(
        default=None, max_length=1000, description="only of these budgets; default all"
    )
    digest: list[Literal["day", "week"]] = Field(
        default_factory=list, max_length=2, description="a report of each day, each week, or both"
    )
    quiet_hours: bool = Field(default=True, description="false: it is told in quiet hours too")
    residency: Literal["cloud", "on_prem"] = Field(
        default="cloud",
        description="on_prem: it is in the house, and may hear the tag values of private jobs",
    )


class MailSection(Section):
    """The server that takes e-mail."""

    host: Text
    port: int | None = Field(
        default=None, ge=1, le=65535, description="default 587; 465 with tls, 25 with none"
    )
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Address = Field(description="the address that it comes from")
    username: Text | None = None
    password_env: str | None = Field(
        default=None,
        pattern=VARIABLE,
        description="the environment variable that holds the password",
    )


class RefusalsSection(Section):
    """From which share of a job's requests on refusals for money and rates are told."""

    percent: int = Field(default=5, ge=1, le=100)
    requests_at_least: int = Field(
        default=20, ge=1, le=1_000_000, description="with fewer of them nothing is told"
    )
    minutes: int = Field(default=10, ge=1, le=60, description="how far back is looked")


class QuietSection(Section):
    """When nobody is disturbed, in the organisation's zone; alerts are delivered afterwards.

    That a budget is used up (100 %) is told at any hour.
    """

    starts: TimeOfDay
    ends: TimeOfDay
    weekends: bool = Field(default=False, description="Saturday and Sunday are quiet as a whole")


class AlertsSection(Section):
    """Who is told of what. Alerts have names and figures, and never a word of a request."""

    destinations: dict[Name, DestinationSection] = Field(default_factory=dict)
    email: MailSection | None = None
    at: Thresholds = Field(
        default_factory=lambda: [50, 80, 100],
        description="per cent of a budget at which is told; a budget can say otherwise",
    )
    projected: bool = Field(
        default=True, description="tell when a budget is expected to be exceeded"
    )
    refusals: RefusalsSection = RefusalsSection()
    quiet_hours: QuietSection | None = None
    digest_at: TimeOfDay = Field(default="08:00", description="when digests are made")
    audit_at: TimeOfDay = Field(
        default="03:00",
        description="when the books are audited, once a day, if a destination wants `audit`",
    )
