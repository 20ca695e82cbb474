"""Routes: the rules that are live, an edited text checked and tried, published with a reason, and
every version that was live, to look at, compare and go back to."""

from __future__ import annotations

from typing import Any

from gateway.errors import BadRequest, ConfigurationError
from gateway.insight import differences
from gateway.insight.whatif import WhatIf
from gateway.jobs.differing import difference
from gateway.web.callers import problem_of
from gateway.web.colouring import coloured, coloured_difference
from gateway.web.pages import Html, Page, Redirect, Visit
from gateway.web.publishing import LIVE, Checked, Publisher
from gateway.web.sources import Sources

PLACE = "/routes"
_EDIT = f"{PLACE}/edit"
_TEXT_BYTES_AT_MOST = 3_000_000
"""Of a form with a whole file in it."""
_HISTORY_AT_MOST = 200
_REASON_AT_MOST = 500
_DAYS = (1, 7, 30)
"""For how long past traffic can be tried, from a page."""
_TAKEN_OVER = "Gateways that follow the file take it over within some seconds."


class RoutesPages:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources) -> None:
        self._sources, self._publisher = sources, Publisher(sources)

    def live(self, _visit: Visit) -> Html:
        """The files that are live."""
        rules = self._sources.live()
        files = [
            (name, rules.owners.get(name, ""), coloured(text)) for name, text in rules.files.items()
        ]
        return Html(
            "routes.html",
            {"rules": rules, "files": files, "why_not": self._publisher.why_not()},
        )

    def edit(self, visit: Visit) -> Html:
        """A form with one of the files."""
        rules = self._sources.live()
        name = visit.query.get("file") or next(iter(rules.files), "")
        if name not in rules.files:
            raise BadRequest(f"{name[:64]!r} is no file of the rules", param="file")
        return self._form(name, rules.files[name], rules.version)

    def check(self, visit: Visit) -> Html:
        """What a start would say of an edited text."""
        name, text, base = _sent(visit)
        try:
            checked = self._publisher.check({name: text})
        except ConfigurationError as error:
            raise BadRequest(problem_of(error)) from None
        return self._form(name, text, base, checked=checked)

    def whatif(self, visit: Visit) -> Html:
        """What the last days would have cost by it."""
        name, text, base = _sent(visit)
        days = visit.form.get("days", "7")
        if days not in map(str, _DAYS):
            raise BadRequest("days: choose one of the form", param="days")
        try:
            checked = self._publisher.check({name: text})
            if checked.rules is None:
                return self._form(name, text, base, checked=checked)
            found = self._publisher.whatif(checked, int(days))
        except ConfigurationError as error:
            raise BadRequest(problem_of(error)) from None
        return self._form(name, text, base, checked=checked, tried=_tried(found, int(days)))

    def publish(self, visit: Visit) -> Html | Redirect:
        """Write it."""
        name, text, base = _sent(visit)
        try:
            checked = self._publisher.check({name: text})
        except ConfigurationError as error:
            raise BadRequest(problem_of(error)) from None
        try:
            row = self._publisher.publish(checked, base, _reason(visit), visit.by)
        except ConfigurationError as error:
            return self._form(name, text, base, checked=checked, problem=problem_of(error))
        said = f"Version {row.number} is written. {_TAKEN_OVER}"
        return Redirect(f"{PLACE}/history", said)

    def history(self, _visit: Visit) -> Html:
        """Every version that was live."""
        found = self._publisher.history(_HISTORY_AT_MOST)
        return Html("routes_history.html", {"versions": found, "live": self._sources.live()})

    def version(self, visit: Visit) -> Html:
        """One of them, beside what is live."""
        return self._version(visit, "")

    def restore(self, visit: Visit) -> Html | Redirect:
        """Write it again."""
        try:
            kept = self._publisher.find(visit.path["number"])
            base = visit.form.get("base", "")
            row = self._publisher.restore(kept, base, _reason(visit), visit.by)
        except ConfigurationError as error:
            return self._version(visit, problem_of(error))
        said = f"Version {row.number} is written, with the files of version {kept.version.number}. "
        return Redirect(f"{PLACE}/history", said + _TAKEN_OVER)

    def _version(self, visit: Visit, problem: str) -> Html:
        try:
            kept = self._publisher.find(visit.path["number"])
        except ConfigurationError as error:
            raise BadRequest(problem_of(error)) from None
        live = self._sources.live()
        told = difference(kept.texts, live.files, (f"version {kept.version.number}", LIVE))
        values = {
            "version": kept.version,
            "files": [(name, "", coloured(text)) for name, text in kept.texts.items()],
            "difference": coloured_difference(told),
            "live": live,
            "why_not": self._publisher.why_not(),
            "problem": problem,
        }
        return Html("routes_version.html", values, 400 if problem else 200)

    def _form(
        self,
        name: str,
        text: str,
        base: str,
        *,
        checked: Checked | None = None,
        problem: str = "",
        tried: dict[str, Any] | None = None,
    ) -> Html:
        wrong = problem or (checked is not None and checked.rules is None)
        values = {
            "name": name,
            "names": list(self._sources.live().files),
            "text": text,
            "base": base,
            "checked": checked,
            "difference": coloured_difference(checked.difference) if checked else [],
            "problem": problem,
            "tried": tried,
            "days": _DAYS,
            "why_not": self._publisher.why_not(),
        }
        return Html("routes_edit.html", values, 400 if wrong else 200)


def routes_pages(sources: Sources) -> list[Page]:
    """The pages of this room."""
    routes = RoutesPages(sources)
    large = _TEXT_BYTES_AT_MOST
    one = f"{PLACE}/versions/{{number}}"
    return [
        Page("GET", PLACE, routes.live),
        Page("GET", _EDIT, routes.edit),
        Page("POST", f"{PLACE}/check", routes.check, large),
        Page("POST", f"{PLACE}/whatif", routes.whatif, large),
        Page("POST", f"{PLACE}/publish", routes.publish, large),
        Page("GET", f"{PLACE}/history", routes.history),
        Page("GET", one, routes.version),
        Page("POST", f"{one}/restore", routes.restore),
    ]


def _sent(visit: Visit) -> tuple[str, str, str]:
    """The file's name, its edited text, and the version that was edited. Raises BadRequest."""
    form = visit.form
    if not {"file", "text", "base"} <= form.keys():
        raise BadRequest("send the form of the page, with the whole text")
    # Browsers send lines as CR LF, and forms come without what is empty at either end.
    return form["file"], form["text"].replace("\r\n", "\n") + "\n", form["base"]


def _reason(visit: Visit) -> str:
    reason = visit.form.get("reason", "")
    if not reason or not reason.isprintable() or len(reason) > _REASON_AT_MOST:
        raise ConfigurationError(
            [f"reason: say why, in one line of at most {_REASON_AT_MOST} characters"]
        )
    return reason


def _tried(found: WhatIf, days: int) -> dict[str, Any]:
    """What a replay came to, for the page."""
    tally = found.tally
    return {
        "days": days,
        "total": differences.total(tally),
        "tables": [
            ("team", differences.by_team(tally)),
            ("job", differences.by_job(tally)),
            ("model", differences.by_model(tally)),
        ],
        "refusals": [(job, why, sums) for (job, why), sums in differences.refusals(tally).items()],
        "hits": len(found.hits),
        "leaves": any(group.leaves for group in tally.groups),
    }
