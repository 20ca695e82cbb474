"""Callers: teams, their apps, and the keys of each; making and removing teams and apps.

Whoever has a role for one team sees that team alone. A key is shown by its last characters; its
secret is nowhere but on the page that made it (`keys`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.callers.reach import IN_USE, state_of
from gateway.callers.roles import NAME
from gateway.errors import BadRequest, ConfigurationError, GatewayError, NotFound
from gateway.ledger.spending import NOTHING, Total
from gateway.web.pages import Html, Page, Redirect, Visit
from gateway.web.sources import Sources
from gateway.web.spans import span_of

PLACE = "/callers"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AppLine:
    """One app in the list."""

    row: Row
    keys: list[Row]
    in_use: int
    total: Total
    """What it has spent in the present month."""


class Callers:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._spending = sources.spending

    def listed(self, visit: Visit) -> Html:
        """Every team with its apps."""
        return self._listed(visit)

    def create_team(self, visit: Visit) -> Html | Redirect:
        """Make a team."""
        name = visit.form.get("name", "")

        def make() -> None:
            self._sources.directory.create_team(name, visit.form.get("contact", ""), visit.by)

        return self._done(visit, make, f"The team {name} is there. Now make an app of it.")

    def create_app(self, visit: Visit) -> Html | Redirect:
        """Make an app of a team."""
        name, team = visit.form.get("name", ""), visit.form.get("team", "")
        self._must_see("team", team, visit)
        try:
            self._sources.directory.create_app(name, team, visit.form.get("contact", ""), visit.by)
        except (ConfigurationError, GatewayError) as error:
            return self._listed(visit, error)
        return Redirect(f"{PLACE}/apps/{name}", f"The app {name} is there. Now make a key for it.")

    def remove_team(self, visit: Visit) -> Html | Redirect:
        """Remove a team that has no apps."""
        name = visit.path["name"]
        self._must_see("team", name, visit)
        return self._done(
            visit,
            lambda: self._sources.directory.remove_team(name, visit.by),
            f"The team {name[:64]} is removed; the books keep its name.",
        )

    def remove_app(self, visit: Visit) -> Html | Redirect:
        """Remove an app of which no key is in use."""
        name = visit.path["name"]
        self._must_see("app", name, visit)
        return self._done(
            visit,
            lambda: self._sources.directory.remove_app(name, visit.by),
            f"The app {name[:64]} is removed; the books keep its name.",
        )

    def tell_contact(self, visit: Visit, kind: str) -> Html | Redirect:
        """Say whom to ask about a team or an app."""
        name = visit.path["name"]
        self._must_see(kind, name, visit)
        contact = visit.form.get("contact", "")
        return self._done(
            visit,
            lambda: self._sources.directory.tell_contact(kind, name, contact, visit.by),
            f"Whom to ask about {name[:64]} is changed.",
        )

    def _done(self, visit: Visit, act: Callable[[], None], said: str) -> Html | Redirect:
        try:
            act()
        except (ConfigurationError, GatewayError) as error:
            return self._listed(visit, error)
        return Redirect(PLACE, said)

    def _must_see(self, kind: str, name: str, visit: Visit) -> None:
        """Raises NotFound for what is not there, or not within the visitor's role."""
        directory = self._sources.directory
        rows = directory.teams() if kind == "team" else directory.apps()
        for row in rows:
            if row["name"] == name and visit.principal.reaches(row.get("team", name)):
                return
        raise NotFound(f"there is no {kind} {name[:64]!r}")

    def _listed(self, visit: Visit, error: Exception | None = None) -> Html:
        teams = [t for t in self._sources.directory.teams() if visit.principal.reaches(t["name"])]
        keys: dict[str, list[Row]] = {}
        for key in self._sources.registry.all():
            keys.setdefault(key["app"], []).append(key)
        span = span_of(visit)
        own = {} if visit.team is None else {"team": visit.team}
        spent = self._spending.cube(span.so_far, own, names=("app",)).by("app")
        apps: dict[str, list[AppLine]] = {}
        for row in self._sources.directory.apps():
            theirs = keys.get(row["name"], [])
            in_use = sum(state_of(key, visit.now) == IN_USE for key in theirs)
            line = AppLine(row, theirs, in_use, spent.get(row["name"], NOTHING))
            apps.setdefault(row["team"], []).append(line)
        values = {
            "teams": [(team, apps.get(team["name"], [])) for team in teams],
            "span": span,
            "problem": "" if error is None else problem_of(error),
            "entered": visit.form if error is not None else {},
            "pattern": NAME.pattern,
        }
        return Html("callers.html", values, 200 if error is None else status_of(error))


def callers_pages(sources: Sources) -> list[Page]:
    """The pages of this room."""
    callers = Callers(sources)
    return [
        Page("GET", PLACE, callers.listed),
        Page("POST", f"{PLACE}/teams", callers.create_team),
        Page("POST", f"{PLACE}/teams/{{name}}/remove", callers.remove_team),
        Page("POST", f"{PLACE}/teams/{{name}}/contact", lambda v: callers.tell_contact(v, "team")),
        Page("POST", f"{PLACE}/apps", callers.create_app),
        Page("POST", f"{PLACE}/apps/{{name}}/remove", callers.remove_app),
        Page("POST", f"{PLACE}/apps/{{name}}/contact", lambda v: callers.tell_contact(v, "app")),
    ]


def problem_of(error: Exception) -> str:
    """What a form is answered with that was not right."""
    if isinstance(error, ConfigurationError):
        return "; ".join(error.problems)
    return str(error)


def status_of(error: Exception) -> int:
    """The status of such an answer."""
    return error.status if isinstance(error, GatewayError) else BadRequest.status
