"""Why a request went as it did: its whole decision on one page, from the books alone.

Everything is as it was written down when it happened: nothing is worked out again by the rules of
today. What is shown of budgets is, for each attempt,

    before   how the balance stood at the decision, before the attempt took anything of it
    taken    what was held for the attempt: its ceiling, in the balance's unit
    booked   what the attempt came to, with every correction of it so far
    after    `before`, with what is booked spent: what this attempt alone made of it
    now      how the balance stands today, with all that others did since

so `after` has nothing of what other requests did at the same time; `now` has.

This room reads the books. It does not know who may see what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import bindparam, func, select

from gateway.clock import to_text
from gateway.ledger.entries import (
    DEFAULT,
    HEADER,
    MODEL,
    NO_SUCH_FORM,
    Decision,
    Ending,
    Entry,
)
from gateway.ledger.queries import Ledger
from gateway.ledger.telling import products, told_entry
from gateway.money import format_dollars
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import ConfigVersion
from gateway.treasury.holds import Hold, HoldTable, balance_list, parse_balances

UNDER_WAY, ENDED = "under way", "ended"
_VERSIONS = ConfigVersion.__table__  # type: ignore[attr-defined]
_AMOUNTS = {"usd": "amount_nanos", "tokens": "tokens", "requests": "request_count"}
_CEILINGS = {"usd": "ceiling_nanos", "tokens": "ceiling_tokens", "requests": "request_count"}
_BY = {
    MODEL: "the field `model` named it",
    HEADER: "the header X-Jobgate-Job named it",
    DEFAULT: "it is the key's default job, which the request left to it",
}
_PASSED = {
    "no_credential": "its provider has no API key",
    "upstream_busy": "its breaker was open: it had failed several times in a row",
    NO_SUCH_FORM: "it does not understand this form of request",
    "request_too_large": "the request does not fit its context window",
    "unpriced_model": "it has no price",
    "invalid_request": "what was asked cannot be said to it",
    "budget_exhausted": "no budget had room for it",
    "budget_busy": "others held the money for it",
    "rate_limited": "a limit by the minute or hour was used up",
}

_decode = msgspec.json.Decoder(Decision).decode


@dataclass(frozen=True, slots=True)
class Explained:
    """A request of a team, as it is told: a mapping that is JSON as it stands."""

    team: str
    told: dict[str, Any]


class Explainer:
    """Explains requests of one organisation. Every method blocks, and may raise DatabaseDown."""

    def __init__(self, database: Database, org: str) -> None:
        self._database, self._org = database, org
        self._ledger = Ledger(database, org)
        engine = database.engine_name
        self._holds = HoldTable(org, engine, "")
        before = _VERSIONS.alias("before")
        newest = select(func.max(before.c.number)).where(
            before.c.org == bindparam("org"), before.c.live_at <= bindparam("moment")
        )
        self._version = prepare(
            select(_VERSIONS.c.number, _VERSIONS.c.hash, _VERSIONS.c.live_at).where(
                _VERSIONS.c.org == bindparam("org"),
                _VERSIONS.c.number == newest.scalar_subquery(),
            ),
            engine,
        )

    def of(self, request_id: str) -> Explained | None:
        """The page of a request; None when the books have nothing of it: it was refused, or
        never was. The id of one of its entries will do too."""
        request_id = request_id.partition(".")[0]
        with self._database.reading() as cursor:
            rows = self._ledger.entries_in(cursor, request_id)
            holds = self._holds.of_request(cursor, request_id)
            if not rows and not holds:
                return None
            numbers = {n for row in rows for n in parse_balances(row["balances"])}
            numbers |= {n for hold in holds for n in hold.balances}
            balances = self._ledger.balances_in(cursor, sorted(numbers))
            began = min([*(row["admitted_at"] for row in rows), *(h.admitted_at for h in holds)])
            version = self._version_at(cursor, began)
        open_ones = [_row_of(hold, self._org) for hold in holds]
        attempts = _attempts(rows, balances)
        attempts += [{**_attempt(row["attempt"], [row], balances), **_OPEN} for row in open_ones]
        first = (rows or open_ones)[0]
        total = sum(row["amount_nanos"] for row in rows)
        told = {
            "request_id": request_id,
            "state": UNDER_WAY if holds else ENDED,
            "asked_by": {name: first[name] for name in ("key_id", "team", "app")},
            "job": told_job(first["job"], _decision(first)),
            "confined": bool(first["confined"]),
            "tags": told_entry(first)["tags"],
            "stream": bool(first["stream"]),
            "rules": version,
            "targets": _targets(attempts),
            "attempts": attempts,
            "amount_nanos": total,
            "amount_usd": format_dollars(total),
        }
        return Explained(str(first["team"]), told)

    def _version_at(self, cursor: Cursor, moment: int) -> dict[str, Any] | None:
        """The newest version of the rules that had gone live by then."""
        rows = cursor.rows(self._version, {"org": self._org, "moment": moment})
        if not rows:
            return None
        number, digest, live_at = rows[0]
        return {"version": number, "hash": digest, "live_at": to_text(live_at)}


def told_job(name: str, decision: Decision) -> dict[str, Any]:
    """A job, and the rule that chose it."""
    said = _BY[decision.by]
    if decision.alias:
        said += f", by its alias {decision.alias}"
    return {"name": name, "chosen_by": decision.by, "alias": decision.alias, "said": said}


def told_passed(passed: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Targets that were passed over, and why."""
    return [
        {
            "target": target,
            "asked": False,
            "why": code,
            "budget": budget,
            "said": _PASSED.get(code, code) + (f" (budget {budget})" if budget else ""),
        }
        for target, code, budget in passed
    ]


def _decision(row: Mapping[str, Any]) -> Decision:
    return _decode(row["decision"] or "{}")


def _row_of(hold: Hold, org: str) -> dict[str, Any]:
    """What an attempt that is under way would be as an entry, if it came to nothing."""
    return Entry(
        id=hold.id,
        draft=hold.draft,
        ending=Ending(outcome=UNDER_WAY, quality=""),
        admitted_at=hold.admitted_at,
        recorded_at=hold.admitted_at,
        request_count=hold.request_count,
        ceiling_nanos=hold.ceiling_nanos,
        ceiling_tokens=hold.ceiling_tokens,
        balances=balance_list(hold.balances),
    ).row(org)


def _attempts(
    rows: Sequence[dict[str, Any]], balances: Mapping[int, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each attempt that is over, with its entries: how it ended first, corrections last."""
    by_number: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_number.setdefault(row["attempt"], []).append(row)
    found = []
    for number, of_it in by_number.items():
        of_it.sort(key=lambda row: (bool(row["corrects"]), row["recorded_at"], row["id"]))
        found.append(_attempt(number, of_it, balances))
    return found


_OPEN: Mapping[str, Any] = {"quality": None, "recorded_at": None, "entries": []}
"""What is known of an attempt that has no entry yet."""


def _attempt(
    number: int, rows: Sequence[dict[str, Any]], balances: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    main = rows[0]
    own = [row for row in rows if not row["corrects"]]
    corrections = [row for row in rows if row["corrects"]]
    nanos, tokens = (sum(row[name] for row in own) for name in ("ceiling_nanos", "ceiling_tokens"))
    booked = sum(row["amount_nanos"] for row in rows)
    names = ("target", "provider", "residency", "model", "model_served", "upstream_id")
    return {
        "attempt": number,
        "id": main["id"],
        **{name: main[name] for name in (*names, "service_tier", "outcome", "quality", "reason")},
        "admitted_at": to_text(main["admitted_at"]),
        "recorded_at": to_text(main["recorded_at"]),
        "changed": [change for change in main["changed"].split("; ") if change],
        "passed_over": told_passed(_decision(main).passed),
        "bound": {
            "nanos": nanos,
            "usd": format_dollars(nanos),
            "tokens": tokens,
            "requests": main["request_count"],
        },
        "budgets": _budgets(own, rows, balances),
        "entries": [told_entry(row) | {"products": products(row)} for row in own],
        "adjustments": [told_entry(row) | {"products": products(row)} for row in corrections],
        "amount_nanos": booked,
        "amount_usd": format_dollars(booked),
    }


def _budgets(
    own: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    balances: Mapping[int, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Each balance that the attempt moved. A correction can move one that the attempt did not,
    when the month has been closed since; nothing is known of that one before."""
    main = own[0] if own else rows[0]
    numbers = parse_balances(main["balances"])
    stood = dict(zip(numbers, _decision(main).budgets.split(), strict=False))
    moved = sorted({number for row in rows for number in parse_balances(row["balances"])})
    found = []
    for number in (number for number in moved if number in balances):
        balance = balances[number]
        unit = balance["unit"]
        concerned = [row for row in rows if number in parse_balances(row["balances"])]
        booked = sum(row[_AMOUNTS[unit]] for row in concerned)
        before = _before(stood.get(number))
        found.append(
            {
                "budget": balance["budget"],
                "subject": balance["subject"],
                "unit": unit,
                "period": balance["period"],
                "period_starts_at": to_text(balance["starts_at"]),
                "hard": bool(balance["hard"]),
                "before": before,
                "taken": sum(row[_CEILINGS[unit]] for row in own) if number in numbers else 0,
                "booked": booked,
                "after": None if before is None else before | {"spent": before["spent"] + booked},
                "now": {
                    "spent": balance["spent"],
                    "held": balance["held"],
                    "limit": balance["limit_value"],
                },
            }
        )
    return found


def _before(text: str | None) -> dict[str, int] | None:
    """How a balance stood, of "spent/held/limit"; None where it was not written down."""
    if text is None:
        return None
    spent, held, limit = map(int, text.split("/"))
    return {"spent": spent, "held": held, "limit": limit}


def _targets(attempts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All targets in the order in which they were looked at: passed over, or asked."""
    found: list[dict[str, Any]] = []
    told = 0
    for attempt in attempts:
        passed = attempt["passed_over"]
        found += passed[told:]
        told = max(told, len(passed))
        found.append(
            {
                "target": attempt["target"],
                "asked": True,
                "attempt": attempt["attempt"],
                "outcome": attempt["outcome"],
                "said": f"attempt {attempt['attempt']}: {attempt['outcome']}",
            }
        )
    return found
