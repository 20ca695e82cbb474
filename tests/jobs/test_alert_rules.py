"""The `alerts:` of routes.yaml: what they mean, and what is wrong with them, with its line."""

from __future__ import annotations

import pytest

from gateway.jobs.alert_rules import QuietHours, RefusalRate, Telling
from gateway.jobs.residency import may_hear
from gateway.jobs.routes import Residency, Scope
from tests.jobs.samples import SMALL, changed, loaded, problems

WEBHOOK = "{kind: webhook, url: 'https://hooks.example.com/x?y=1', secret_env: HOOK}"
SET = {"HOOK": "a", "CHAT": "https://hooks.slack.com/services/T/B/X", "MAIL": "b"}


def alerts(*lines: str, destination: str = WEBHOOK) -> str:
    """SMALL with a destination, and further lines of `alerts`."""
    more = "".join(f"  {line}\n" for line in lines)
    return f"{SMALL}alerts:\n  destinations:\n    finance: {destination}\n{more}"


def test_without_alerts_nobody_is_told() -> None:
    assert loaded(SMALL).alerts.destinations == {}


def test_all_of_it_is_read() -> None:
    rules = loaded(
        alerts(
            "at: [90, 60]",
            "projected: false",
            "refusals: {percent: 10, requests_at_least: 50, minutes: 5}",
            'quiet_hours: {starts: "20:00", ends: "07:30", weekends: true}',
            'digest_at: "06:15"',
            'audit_at: "00:30"',
            "email: {host: mail.example.com, sender: a@b.org, username: u, password_env: MAIL}",
        ),
        SET,
    )
    alert_rules = rules.alerts
    assert rules.warnings == ()
    assert alert_rules.telling == Telling((60, 90), False)
    assert alert_rules.refusals == RefusalRate(10, 50, 5)
    assert alert_rules.quiet == QuietHours(1200, 450, weekends=True)
    assert (alert_rules.digest_at, alert_rules.audit_at) == (375, 30)
    assert alert_rules.mail is not None
    assert (alert_rules.mail.port, alert_rules.mail.security) == (587, "starttls")
    (found,) = alert_rules.destinations.values()
    assert (found.url, found.secret_env) == ("https://hooks.example.com/x?y=1", "HOOK")
    assert found.wants("budgets", "all")


def test_a_budget_says_otherwise_and_what_it_does_not_say_is_as_usual() -> None:
    limit = "limit: 2000 USD"
    text = alerts("at: [70]").replace(limit, f"{limit}, alerts: {{projected: false}}")
    rules = loaded(text, SET).alerts
    assert rules.of_budget("all") == Telling((70,), False)
    assert rules.of_budget("another") == Telling((70,), True)


def test_a_destination_is_told_of_its_budgets_alone() -> None:
    destination = WEBHOOK.replace("}", ", budgets: [all], on: [budgets, audit]}")
    rules = loaded(alerts(destination=destination), SET).alerts
    assert [bool(rules.wanting("budgets", name)) for name in ("all", "other")] == [True, False]
    assert [bool(rules.wanting(kind)) for kind in ("audit", "breakers")] == [True, False]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("destination", "where", "said"),
    [
        ("{kind: webhook, secret_env: HOOK}", "", "must have one of url and url_env"),
        ("{kind: webhook, url: 'https://x.org'}", ".secret_env", "is missing; a webhook is signed"),
        ("{kind: webhook, url: 'ftp://x.org', secret_env: HOOK}", ".url", "must be an address"),
        (
            "{kind: webhook, url: 'https://u:p@x.org', secret_env: HOOK}",
            ".url",
            "must not hold a user name or a password",
        ),
        ("{kind: slack, url_env: CHAT, secret_env: HOOK}", ".secret_env", "is for a webhook"),
        ("{kind: slack, url_env: CHAT, to: [a@b.org]}", ".to", "is for email"),
        ("{kind: slack, url_env: HOOK}", ".url_env", "must be an address"),
        (
            "{kind: slack, url_env: CHAT, residency: on_prem}",
            ".url_env",
            "hooks.slack.com is a public service, so this destination is not on-prem",
        ),
        ("{kind: pager, url_env: CHAT}", ".kind", "must be 'webhook', 'slack' or 'email'"),
        (WEBHOOK.replace("}", ", budgets: [al]}"), ".budgets[0]", "did you mean 'all'?"),
    ],
)
def test_a_destination_that_cannot_be_is_told_with_its_place(
    destination: str, where: str, said: str
) -> None:
    (found,) = problems(alerts(destination=destination), SET)
    assert found.startswith(f"routes.yaml:36: alerts.destinations.finance{where}: ")
    assert said in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("at: [0]", "alerts.at[0]: must be greater than or equal to 1"),
        ('digest_at: "8"', "alerts.digest_at: must be a time of day in quotes, such as '07:30'"),
        (
            'quiet_hours: {starts: "20:00", ends: "20:00"}',
            "alerts.quiet_hours: begin and end at the same time",
        ),
        (
            "email: {host: h, sender: nobody}",
            "alerts.email.sender: must be an address such as jobgate@example.com",
        ),
        (
            "email: {host: h, sender: a@b.org, security: none, username: u, password_env: MAIL}",
            "alerts.email.security: a password is not sent unencrypted",
        ),
        ("email: {host: h, sender: a@b.org, username: u}", "must have both of username and"),
        ("evenings: true", "alerts.evenings: there is no such field"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(line: str, said: str) -> None:
    (found,) = problems(alerts(line), SET)
    assert found.startswith("routes.yaml:37: ")
    assert said in found


@pytest.mark.parametrize(
    "address", ["no-at", "a@b@c.org", "a b@c.org", "a@c.org\\nBcc: d@e.org", "a@c.org,d@e.org"]
)
def test_an_address_is_one_address(address: str) -> None:
    destination = f'{{kind: email, to: ["{address}"]}}'
    text = alerts("email: {host: h, sender: a@b.org}", destination=destination)
    (found,) = problems(text)
    assert "must be an address such as cfo@example.com" in found


def test_mail_needs_a_server() -> None:
    (found,) = problems(alerts(destination="{kind: email, to: [a@b.org]}"))
    assert "alerts.email: is missing" in found


def test_a_variable_that_is_not_set_is_a_warning_that_names_it() -> None:
    (warned,) = loaded(alerts()).warnings
    assert "secret_env: the variable HOOK is not set" in warned


def test_a_wrong_alert_hides_nothing_else() -> None:
    text = alerts("at: [0]").replace("targets: [house/llama]", "targets: [hause/llama]")
    assert len(problems(text, SET)) == 2


@pytest.mark.parametrize(
    ("scope", "place", "heard"),
    [
        (Scope("job", "private"), "cloud", True),
        (Scope("team", "legal"), "cloud", True),
        (Scope("tag", None, "case"), "cloud", False),
        (Scope("tag", None, "case"), "on_prem", True),
        (Scope("tag", "a-case", "case"), "cloud", True),
        (Scope("tag", None, "run"), "cloud", True),
    ],
)
def test_of_a_private_job_only_the_values_of_tags_stay_in_the_house(
    scope: Scope, place: Residency, heard: bool
) -> None:
    jobs = loaded(
        changed(
            ("residency: on_prem\n    targets", "tags: [case]\n    residency: on_prem\n    targets")
        )
    ).jobs
    assert may_hear(scope, jobs.values(), place) is heard
