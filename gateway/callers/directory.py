"""Teams and apps: who pays, and who calls. An app belongs to one team for good.

The books name teams and apps by themselves, so an entry stays what it is when one of them is
removed. A team is removed when it has no app any more, an app when no key of it is in use.

Every change is written into the log of changes in its own transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from gateway.callers.changes import By, Change, ChangeLog
from gateway.callers.roles import NAME
from gateway.clock import Clock
from gateway.errors import ConfigurationError, Conflict, NotFound
from gateway.store.database import Cursor, Database
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import App, Key, Team

_TEAMS = Team.__table__  # type: ignore[attr-defined]
_APPS = App.__table__  # type: ignore[attr-defined]
_KEYS = Key.__table__  # type: ignore[attr-defined]
TEAM_COLUMNS = ("name", "contact", "created_at")
APP_COLUMNS = ("name", "team", "contact", "created_at")
_CONTACT_LENGTH = 200


class Directory:
    """Teams and apps of one organisation. Every method blocks."""

    def __init__(self, database: Database, org: str, clock: Clock) -> None:
        self._database, self._org, self._clock = database, org, clock
        self._log = ChangeLog(org, database.engine_name)
        engine = database.engine_name
        self._add = {
            table.name: prepare(INSERTS[engine](table).on_conflict_do_nothing(), engine)
            for table in (_TEAMS, _APPS)
        }
        self._all, self._one, self._set, self._remove = {}, {}, {}, {}
        for table, names in ((_TEAMS, TEAM_COLUMNS), (_APPS, APP_COLUMNS)):
            mine = table.c.org == bindparam("in_org")
            this = mine & (table.c.name == bindparam("named"))
            columns = [table.c[name] for name in names]
            listed = select(*columns).where(mine).order_by(table.c.name)
            self._all[table.name] = prepare(listed, engine)
            locked = select(*columns).where(this).with_for_update()
            self._one[table.name] = prepare(locked, engine)
            told = update(table).where(this).values(contact=bindparam("told"))
            self._set[table.name] = prepare(told, engine)
            self._remove[table.name] = prepare(delete(table).where(this), engine)
        self._apps_of = prepare(
            select(func.count()).where(
                _APPS.c.org == bindparam("in_org"), _APPS.c.team == bindparam("named")
            ),
            engine,
        )
        self._keys_of = prepare(
            select(func.count()).where(
                _KEYS.c.org == bindparam("in_org"),
                _KEYS.c.app == bindparam("named"),
                _KEYS.c.revoked_at.is_(None),
                _KEYS.c.expires_at.is_(None) | (_KEYS.c.expires_at > bindparam("now")),
            ),
            engine,
        )

    def teams(self) -> list[dict[str, Any]]:
        """Every team, by name."""
        return self._list(_TEAMS.name, TEAM_COLUMNS)

    def apps(self) -> list[dict[str, Any]]:
        """Every app, by name."""
        return self._list(_APPS.name, APP_COLUMNS)

    def create_team(self, name: str, contact: str, by: By) -> None:
        """Add a team. Raises ConfigurationError for no name, Conflict when it is there."""
        check_names(team=name)
        _check_contact(contact)
        with self._database.writing() as cursor:
            made = self.found_in(cursor, name, None, contact)
            if not made:
                raise Conflict(f"there is a team {name!r} already")
            self._log.append(cursor, made, by, self._clock.now())

    def create_app(self, name: str, team: str, contact: str, by: By) -> None:
        """Add an app of a team that is there.

        Raises ConfigurationError for no name, NotFound without the team, Conflict when there
        is an app of the name.
        """
        check_names(app=name)
        _check_contact(contact)
        with self._database.writing() as cursor:
            self.must_have(cursor, team)
            made = self.found_in(cursor, team, name, contact)
            if not made:
                raise Conflict(f"there is an app {name!r} already")
            self._log.append(cursor, made, by, self._clock.now())

    def found_in(
        self, cursor: Cursor, team: str, app: str | None, contact: str = ""
    ) -> list[Change]:
        """Add a team and an app of it, those that are missing; returns what is to be logged.

        `contact` is that of the app, or of the team where there is no app.
        """
        now, made = self._clock.now(), []
        row = {"org": self._org, "name": team, "created_at": now}
        row["contact"] = "" if app else contact
        if cursor.changed(self._add[_TEAMS.name], row):
            made.append(Change(what="team.create", subject=team, team=team, after=_shown(row)))
        if app is not None:
            row |= {"name": app, "team": team, "contact": contact}
            if cursor.changed(self._add[_APPS.name], row):
                made.append(Change(what="app.create", subject=app, team=team, after=_shown(row)))
        return made

    def must_have(self, cursor: Cursor, team: str, app: str | None = None) -> None:
        """Raises NotFound unless the team is there, and an app of it if one is named.

        They stay there until the transaction ends.
        """
        if self._find(cursor, _TEAMS.name, team) is None:
            raise NotFound(f"there is no team {team!r}", param="team")
        if app is not None:
            row = self._find(cursor, _APPS.name, app)
            if row is None or row[1] != team:
                raise NotFound(f"the team {team!r} has no app {app!r}", param="app")

    def team_of(self, cursor: Cursor, app: str) -> str | None:
        """The team of an app, which it keeps until the transaction ends; None without the app."""
        row = self._find(cursor, _APPS.name, app)
        return None if row is None else str(row[1])

    def tell_contact(self, kind: str, name: str, contact: str, by: By) -> None:
        """Say whom to ask about a team or an app; `kind` is "team" or "app". Raises NotFound."""
        _check_contact(contact)
        with self._database.writing() as cursor:
            before = self._known(cursor, kind, name)
            values = {"in_org": self._org, "named": name, "told": contact}
            cursor.run(self._set[_KINDS[kind][0]], values)
            after = {**before, "contact": contact}
            self._record(cursor, f"{kind}.change", before, after, by)

    def remove_team(self, name: str, by: By) -> None:
        """Remove a team. Raises NotFound, and Conflict while it has apps."""
        with self._database.writing() as cursor:
            before = self._known(cursor, "team", name)
            values = {"in_org": self._org, "named": name}
            if int(cursor.rows(self._apps_of, values)[0][0]):
                raise Conflict(f"the team {name!r} has apps; remove them first")
            cursor.run(self._remove[_TEAMS.name], values)
            self._record(cursor, "team.remove", before, None, by)

    def remove_app(self, name: str, by: By) -> None:
        """Remove an app. Raises NotFound, and Conflict while a key of it is in use."""
        with self._database.writing() as cursor:
            before = self._known(cursor, "app", name)
            values = {"in_org": self._org, "named": name}
            now = self._clock.now()
            if int(cursor.rows(self._keys_of, {**values, "now": now})[0][0]):
                raise Conflict(f"the app {name!r} has keys that are in use; revoke them first")
            cursor.run(self._remove[_APPS.name], values)
            self._record(cursor, "app.remove", before, None, by)

    def _known(self, cursor: Cursor, kind: str, name: str) -> dict[str, Any]:
        table, columns = _KINDS[kind]
        row = self._find(cursor, table, name)
        if row is None:
            raise NotFound(f"there is no {kind} {name!r}")
        return dict(zip(columns, row, strict=True))

    def _find(self, cursor: Cursor, table: str, name: str) -> tuple[Any, ...] | None:
        found = cursor.rows(self._one[table], {"in_org": self._org, "named": name})
        return found[0] if found else None

    def _list(self, table: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        with self._database.reading() as cursor:
            rows = cursor.rows(self._all[table], {"in_org": self._org})
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _record(
        self,
        cursor: Cursor,
        what: str,
        before: Mapping[str, Any],
        after: Mapping[str, Any] | None,
        by: By,
    ) -> None:
        change = Change(
            what=what,
            subject=str(before["name"]),
            team=str(before.get("team", before["name"])),
            before=_shown(before),
            after=None if after is None else _shown(after),
        )
        self._log.append(cursor, [change], by, self._clock.now())


_KINDS = {"team": (_TEAMS.name, TEAM_COLUMNS), "app": (_APPS.name, APP_COLUMNS)}


def check_names(**names: str) -> None:
    """Raises ConfigurationError unless each, by what it is the name of, can be a name."""
    problems = [
        f"{what} {name!r}: use letters, digits, '.', '_' and '-', at most 64"
        for what, name in names.items()
        if not NAME.fullmatch(name)
    ]
    if problems:
        raise ConfigurationError(problems)


def _check_contact(text: str) -> None:
    if len(text) > _CONTACT_LENGTH or not (text == "" or text.isprintable()):
        raise ConfigurationError([f"contact: one line of at most {_CONTACT_LENGTH} characters"])


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the log says of it."""
    return {name: row[name] for name in ("team", "contact") if name in row}
