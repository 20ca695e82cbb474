"""Keys: made for an app, limited, rotated and revoked; and what to paste into which client.

A new secret is in the one answer that made it. That answer is no redirect, for a secret must not
travel in an address or a cookie; the page says so, and nobody keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from gateway.callers.reach import IN_USE, know_jobs, state_of, within
from gateway.callers.registry import NewKey
from gateway.callers.roles import APP, ROLES, Permission, Role, authorise, may_grant
from gateway.clock import MICROS
from gateway.errors import ConfigurationError, Forbidden, GatewayError, NotFound
from gateway.jobs.routes import Period
from gateway.money import parse_dollars
from gateway.web.callers import PLACE, problem_of, status_of
from gateway.web.pages import Html, Page, Redirect, Visit
from gateway.web.sources import Sources
from gateway.web.spans import end_of_day

_TICKED = "job:"
"""What the name of a box begins with that stands for one job."""
_HOUR = 3600
OVERLAPS = {"0": "at once", "1": "in an hour", "24": "in a day", "168": "in a week"}
"""Hours for which the secret before a rotation stays good, and how people say it."""


class Keys:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def of_app(self, visit: Visit) -> Html:
        """An app: its keys, a form for a new one, and what to paste."""
        return self._of_app(visit, self._app(visit, visit.path["name"]))

    def create(self, visit: Visit) -> Html:
        """Make a key; the answer shows its secret, this once."""
        app = self._app(visit, visit.form.get("app", ""))
        authorise(visit.principal, Permission.CHANGE_KEYS, app["team"])
        try:
            new = self._asked_for(visit, app)
            may_grant(visit.principal, Role.parse(new.role))
            know_jobs((*(new.jobs or ()), new.default_job), self._sources.live().jobs)
            key_id, secret = self._sources.registry.create(new, visit.by)
        except Forbidden:
            raise
        except (ConfigurationError, GatewayError) as error:
            return self._of_app(visit, app, error)
        return self._made(visit, key_id, secret)

    def one(self, visit: Visit) -> Html:
        """A key, and what can be done to it."""
        return self._one(visit, self._key(visit))

    def change(self, visit: Visit) -> Html | Redirect:
        """Change what a key may do, or when it ends."""
        key = self._key(visit)
        try:
            wanted = self._limits(visit)
            if visit.may(Permission.GRANT_ROLES) and "role" in visit.form:
                wanted["role"] = visit.form["role"]
                may_grant(visit.principal, Role.parse(visit.form["role"]))
            know_jobs((*(wanted["jobs"] or ()), wanted["default_job"]), self._sources.live().jobs)
            allowed = within(visit.principal, itself=False)
            self._sources.registry.change(key["id"], wanted, visit.by, allowed)
        except Forbidden:
            raise
        except (ConfigurationError, GatewayError) as error:
            return self._one(visit, key, error)
        return Redirect(f"{PLACE}/keys/{key['id']}", "The key is changed.")

    def rotate(self, visit: Visit) -> Html:
        """Give a key a new secret; the answer shows it, this once."""
        key, hours = self._key(visit), visit.form.get("hours", "")
        try:
            if hours not in OVERLAPS:
                raise ConfigurationError(["say for how long the secret before stays good"])
            allowed = within(visit.principal, itself=True)
            secret, _until = self._sources.registry.rotate(
                key["id"], int(hours) * _HOUR, visit.by, allowed
            )
        except Forbidden:
            raise
        except (ConfigurationError, GatewayError) as error:
            return self._one(visit, key, error)
        return self._made(visit, key["id"], secret)

    def revoke(self, visit: Visit) -> Redirect:
        """Revoke a key."""
        key = self._key(visit)
        allowed = within(visit.principal, itself=False)
        if not self._sources.registry.revoke(key["id"], visit.by, allowed):
            raise NotFound(f"{key['id']} was revoked before")
        said = "The key is revoked; every gateway refuses it within a second."
        return Redirect(f"{PLACE}/apps/{key['app']}", said)

    def _app(self, visit: Visit, name: str) -> dict[str, Any]:
        """An app within the visitor's role. Raises NotFound."""
        for row in self._sources.directory.apps():
            if row["name"] == name and visit.principal.reaches(row["team"]):
                return row
        raise NotFound(f"there is no app {name[:64]!r}")

    def _key(self, visit: Visit, key_id: str = "") -> dict[str, Any]:
        """A key within the visitor's role. Raises NotFound."""
        key_id = key_id or visit.path["key_id"]
        for row in self._sources.registry.all():
            if row["id"] == key_id and visit.principal.reaches(row["team"]):
                return row
        raise NotFound(f"there is no key {key_id[:64]!r}")

    def _asked_for(self, visit: Visit, app: Mapping[str, Any]) -> NewKey:
        """What the form asks for. Raises ConfigurationError."""
        limits, form = self._limits(visit), visit.form
        nanos = None
        if "budget" in form:
            try:
                nanos = parse_dollars(form["budget"])
            except ValueError as error:
                raise ConfigurationError([f"budget: {error}"]) from None
            if nanos < 0 or form.get("period") not in get_args(Period):
                raise ConfigurationError(["budget: dollars, and a period for them"])
        if limits["expires_at"] is not None and limits["expires_at"] <= visit.now:
            raise ConfigurationError(["last day: that is over already"])
        return NewKey(
            team=app["team"],
            app=app["name"],
            role=form.get("role", APP),
            budget_nanos=nanos,
            budget_period=None if nanos is None else form["period"],
            founds=False,
            **limits,
        )

    def _limits(self, visit: Visit) -> dict[str, Any]:
        """What can be changed later too. Raises ConfigurationError."""
        form, jobs = visit.form, None
        if form.get("which") == "some":
            jobs = tuple(name.removeprefix(_TICKED) for name in form if name.startswith(_TICKED))
            if not jobs:
                raise ConfigurationError(["jobs: tick those that the key may use"])
        last_day = form.get("last_day")
        return {
            "jobs": jobs,
            "default_job": form.get("default_job"),
            "expires_at": None if last_day is None else end_of_day(visit, last_day, "last day"),
            "addresses": tuple(form.get("addresses", "").replace(",", " ").split()),
        }

    def _of_app(self, visit: Visit, app: Mapping[str, Any], error: Exception | None = None) -> Html:
        rows = [key for key in self._sources.registry.all() if key["app"] == app["name"]]
        keys = [(key, state_of(key, visit.now)) for key in rows[::-1]]
        values = {"app": app, "keys": keys, **self._form(visit, error)}
        return Html("app.html", values, 200 if error is None else status_of(error))

    def _one(self, visit: Visit, key: Mapping[str, Any], error: Exception | None = None) -> Html:
        own = key["id"] == visit.principal.name
        state = state_of(key, visit.now)
        values = {
            "key": key,
            "state": state,
            "jobs_of_key": None if key["jobs"] == "*" else key["jobs"].split(),
            "may_change": state == IN_USE and not own and _may_touch(visit, key),
            "may_rotate": state == IN_USE and _may_touch(visit, key),
            "last_day": _last_day(visit, key),
            "overlaps": OVERLAPS,
            "old_secret": key["old_until"] is not None and key["old_until"] > visit.now,
            **self._form(visit, error),
        }
        return Html("key.html", values, 200 if error is None else status_of(error))

    def _made(self, visit: Visit, key_id: str, secret: str) -> Html:
        key = self._key(visit, key_id)
        jobs = self._sources.live().jobs if key["jobs"] == "*" else key["jobs"].split()
        job = key["default_job"] or next(iter(jobs))
        values = {"key": key, "secret": secret, "job": job}
        return Html("key_made.html", values)

    def _form(self, visit: Visit, error: Exception | None) -> dict[str, Any]:
        """What the forms of keys need."""
        jobs = self._sources.live().jobs
        return {
            "jobs": list(jobs),
            "job": next(iter(jobs)),
            "roles": _grantable(visit),
            "periods": get_args(Period),
            "problem": "" if error is None else problem_of(error),
            "entered": visit.form if error is not None else {},
        }


def keys_pages(sources: Sources) -> list[Page]:
    """The pages of this room."""
    keys = Keys(sources)
    one = f"{PLACE}/keys/{{key_id}}"
    return [
        Page("GET", f"{PLACE}/apps/{{name}}", keys.of_app),
        Page("POST", f"{PLACE}/keys", keys.create),
        Page("GET", one, keys.one),
        Page("POST", f"{one}/change", keys.change),
        Page("POST", f"{one}/rotate", keys.rotate),
        Page("POST", f"{one}/revoke", keys.revoke),
    ]


def _may_touch(visit: Visit, key: Mapping[str, Any]) -> bool:
    """Whether the visitor may change keys, and this one has no role that is beyond them."""
    if not visit.may(Permission.CHANGE_KEYS):
        return False
    try:
        within(visit.principal, itself=True)(key)
    except GatewayError:
        return False
    return True


def _grantable(visit: Visit) -> list[str]:
    """The roles that the visitor may give; for one team they are for that team."""
    found = []
    for name in ROLES:
        role = Role(name, None if name == APP else visit.team)
        try:
            may_grant(visit.principal, role)
        except GatewayError:
            continue
        found.append(str(role))
    return found


def _last_day(visit: Visit, key: Mapping[str, Any]) -> str:
    """The last day of a key, as a form has it; empty without one."""
    if key["expires_at"] is None:
        return ""
    return visit.say.local(key["expires_at"] - MICROS).date().isoformat()
