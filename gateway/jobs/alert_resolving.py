"""What the `alerts:` of routes.yaml mean: from the sections as written to `AlertRules`.

An address comes from the file or from the environment, and from nobody else. What cannot be is a
problem; a variable that is not set yet is a warning, because alerts may not keep a gateway from
its start.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from gateway.jobs.alert_rules import (
    KINDS,
    AlertRules,
    Destination,
    MailServer,
    QuietHours,
    RefusalRate,
    Telling,
)
from gateway.jobs.alert_schema import AlertsSection, DestinationSection, MailSection
from gateway.jobs.document import Path
from gateway.jobs.problems import Problems, nearest
from gateway.jobs.providers import parts_of
from gateway.jobs.residency import is_public_cloud
from gateway.jobs.rules import RoutesFile

_HERE: Path = ("alerts",)
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_MESSAGE_CLOUDS = (
    "discord.com",
    "gmail.com",
    "office.com",
    "office365.com",
    "outlook.com",
    "pagerduty.com",
    "slack.com",
    "telegram.org",
)
"""Domains of public message services, which are not on-prem either."""


def alert_rules(
    file: RoutesFile,
    budgets: Collection[str],
    environment: Mapping[str, str],
    problems: Problems,
) -> AlertRules:
    """The rules; complete only if `problems` has found nothing. `budgets` are all their names."""
    section = file.alerts
    for name, destination in section.destinations.items():
        _check(("alerts", "destinations", name), destination, environment, problems)
        _check_names(("alerts", "destinations", name, "budgets"), destination, budgets, problems)
    if section.email is not None:
        _check_mail(section.email, problems)
    elif any(one.kind == "email" for one in section.destinations.values()):
        problems.add((*_HERE, "email"), "is missing; a destination of kind email needs it")
    _warn_of_variables(section, environment, problems)
    quiet = section.quiet_hours
    if quiet is not None and quiet.starts == quiet.ends and not quiet.weekends:
        said = "begin and end at the same time: it would never be quiet, or always"
        problems.add((*_HERE, "quiet_hours"), said)
    usual = Telling(_ascending(section.at), section.projected)
    return AlertRules(
        destinations=MappingProxyType(
            {name: _destination(name, one) for name, one in section.destinations.items()}
        ),
        mail=None if section.email is None else _mail(section.email),
        telling=usual,
        budgets=MappingProxyType(_of_budgets(file, usual)),
        refusals=RefusalRate(
            section.refusals.percent, section.refusals.requests_at_least, section.refusals.minutes
        ),
        quiet=None
        if quiet is None
        else QuietHours(_minutes(quiet.starts), _minutes(quiet.ends), quiet.weekends),
        digest_at=_minutes(section.digest_at),
        audit_at=_minutes(section.audit_at),
    )


def wrong_with_address(url: str) -> str | None:
    """What is wrong with the address of a destination; never repeats it: it may be a secret."""
    parts = parts_of(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be an address such as https://hooks.example.com/jobgate"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or a password"
    return None


def _of_budgets(file: RoutesFile, usual: Telling) -> dict[str, Telling]:
    """Those budgets that say something of their own."""
    found = {}
    for name, budget in file.budgets.items():
        own = budget.alerts
        at = usual.thresholds if own.at is None else _ascending(own.at)
        telling = Telling(at, usual.projected if own.projected is None else own.projected)
        if telling != usual:
            found[name] = telling
    return found


def _check(
    path: Path, section: DestinationSection, environment: Mapping[str, str], problems: Problems
) -> None:
    """A destination says what its kind needs, and nothing else."""
    if section.kind == "email":
        for name in ("url", "url_env", "secret_env"):
            if getattr(section, name) is not None:
                problems.add((*path, name), "is not for email, which has `to`")
        if not section.to:
            problems.add((*path, "to"), "is missing; say who gets it")
        for index, address in enumerate(section.to):
            if not _is_address(address):
                problems.add((*path, "to", index), "must be an address such as cfo@example.com")
    else:
        if section.to:
            problems.add((*path, "to"), f"is for email; {section.kind} has a URL")
        if (section.url is None) == (section.url_env is None):
            problems.add(path, "must have one of url and url_env")
        if section.kind == "webhook" and section.secret_env is None:
            problems.add((*path, "secret_env"), "is missing; a webhook is signed with a secret")
        if section.kind == "slack" and section.secret_env is not None:
            problems.add((*path, "secret_env"), "is for a webhook; Slack checks no signature")
        if section.url is not None:
            _check_url((*path, "url"), section.url, section, problems)
        elif given := environment.get(section.url_env or "", "").strip():
            _check_url((*path, "url_env"), given, section, problems)


def _check_url(path: Path, url: str, section: DestinationSection, problems: Problems) -> None:
    said = wrong_with_address(url)
    if said is not None:
        problems.add(path, said)
        return
    parts = parts_of(url)
    host = "" if parts is None else (parts.hostname or "")
    if section.residency == "on_prem" and _is_elsewhere(host):
        problems.add(path, f"{host} is a public service, so this destination is not on-prem")
    if section.kind == "slack" and section.url is not None:
        said = "whoever knows it can write there; better put it into a variable, with url_env"
        problems.warn(path, said)


def _check_names(
    path: Path, section: DestinationSection, budgets: Collection[str], problems: Problems
) -> None:
    for index, name in enumerate(section.budgets or ()):
        if name not in budgets:
            problems.add((*path, index), f"unknown budget {name!r}{nearest(name, budgets)}")


def _check_mail(section: MailSection, problems: Problems) -> None:
    path: Path = (*_HERE, "email")
    if not _is_address(section.sender):
        problems.add((*path, "sender"), "must be an address such as jobgate@example.com")
    if (section.username is None) != (section.password_env is None):
        problems.add(path, "must have both of username and password_env, or neither")
    elif section.username is not None and section.security == "none":
        said = "a password is not sent unencrypted; use starttls or tls"
        problems.add((*path, "security"), said)


def _warn_of_variables(
    section: AlertsSection, environment: Mapping[str, str], problems: Problems
) -> None:
    named: list[tuple[Path, str | None]] = [
        (("alerts", "destinations", name, what), getattr(one, what))
        for name, one in section.destinations.items()
        for what in ("url_env", "secret_env")
    ]
    if section.email is not None:
        named.append(((*_HERE, "email", "password_env"), section.email.password_env))
    for path, variable in named:
        if variable is not None and not environment.get(variable, "").strip():
            problems.warn(path, f"the variable {variable} is not set: nothing can be delivered")


def _destination(name: str, section: DestinationSection) -> Destination:
    return Destination(
        name=name,
        kind=section.kind,
        url=section.url,
        url_env=section.url_env,
        secret_env=section.secret_env,
        to=tuple(section.to),
        kinds=frozenset(KINDS if section.on is None else section.on),
        budgets=None if section.budgets is None else frozenset(section.budgets),
        digests=frozenset(section.digest),
        waits=section.quiet_hours,
        residency=section.residency,
    )


def _mail(section: MailSection) -> MailServer:
    return MailServer(
        host=section.host,
        port=section.port or _PORTS[section.security],
        security=section.security,
        sender=section.sender,
        username=section.username,
        password_env=section.password_env,
    )


def _is_address(text: str) -> bool:
    """Whether it can stand in a header as one address, and in no other way."""
    local, at, domain = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not set(text) & set(" <>,;:\"'()[]\\")
    return bool(plain and at and local and domain.strip(".")) and "@" not in local


def _is_elsewhere(host: str) -> bool:
    host = host.lower().rstrip(".")
    return is_public_cloud(host) or any(
        host == known or host.endswith("." + known) for known in _MESSAGE_CLOUDS
    )


def _ascending(thresholds: Collection[int]) -> tuple[int, ...]:
    return tuple(sorted(set(thresholds)))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
