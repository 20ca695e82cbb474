"""How the answer of a what-if is said: as data, and as tables of texts for people.

Every table is a heading, names of columns and rows of texts; whoever prints them as a table on a
terminal, or as Markdown, says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from gateway.clock import to_datetime, to_text
from gateway.insight import differences
from gateway.insight.budget_hits import Hit
from gateway.insight.differences import Line, Total
from gateway.insight.placing import CONFINED, CORRECTION, IN_HOUSE, KEPT, PRESUMED
from gateway.insight.promises import ALL, Outcome, Promise, Side
from gateway.insight.whatif import WhatIf
from gateway.money import for_people, format_dollars, quantity

HITS_SHOWN = 20
REASONS_SHOWN = 3
_MANY_TIMES = 10


@dataclass(frozen=True, slots=True)
class Page:
    """One table; the columns after the first `texts` are figures."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


def headline(found: WhatIf, name: str) -> str:
    """The answer in one sentence."""
    whole = differences.total(found.tally)
    answered = whole.booked - whole.refused_booked
    first, last = (_local(found, moment) for moment in (found.period.start, found.period.end))
    return (
        f"{name}: {signed(whole.replayed - answered)} ({percent(whole.change)}):"
        f" {for_people(answered)} was booked, {for_people(whole.replayed)} it would be, for"
        f" {whole.requests - whole.refused:,} requests from {first:%Y-%m-%d} to {last:%Y-%m-%d}."
    )


def warnings(found: WhatIf) -> list[str]:
    """What has to be looked at before anything else."""
    whole, told = differences.total(found.tally), []
    for leaves, said in (
        (CONFINED, "of a job that was confined to the house would, or could, be sent to a cloud"),
        (IN_HOUSE, "that stayed in the house would be sent to a cloud"),
    ):
        count = _requests(found, leaves)
        if count:
            told.append(f"residency: {quantity(count, 'requests')} {said}")
    if whole.refused:
        told.append(
            f"refused: {quantity(whole.refused, 'requests')} would get no answer"
            f" ({for_people(whole.refused_booked)} was booked for them, which is no saving)"
        )
    hard = sum(hit.budget.hard for hit in found.hits)
    if hard:
        limits = "hard limit" if hard == 1 else "hard limits"
        told.append(f"budgets: {hard:,} {limits} would have been reached")
    return told


def notes(found: WhatIf) -> list[str]:
    """What the figures leave open."""
    tally, told = found.tally, []
    if not tally.groups:
        told.append("nothing was recorded in this time")
    by_reason = differences.summed(tally, lambda group: group.why if group.why in KEPT else None)
    for why, sums in sorted(by_reason.items()):
        kind = {PRESUMED: "presumed amounts", CORRECTION: "corrections"}.get(why, "tool fees")
        told.append(f"{sums.entries:,} entries are {kind} and stay as booked")
    passed = differences.summed(tally, lambda group: "" if group.passed_on else None)
    if passed:
        count = passed[""].entries
        told.append(
            f"{count:,} entries were answered by a fallback; the targets before it were passed over"
            " again"
        )
    tight = sum(sums.tight for sums in tally.groups.values())
    if tight:
        told.append(
            f"{tight:,} requests fit the context window only if their callers ask for less output"
            " than their job's default"
        )
    told.append(
        "the tokens are the recorded ones: another model may count, cache and answer differently"
    )
    told.append(
        "what callers asked is recorded only where it was changed, so a narrower range for"
        " temperature, say, shows in the defaults alone"
    )
    return told


def pages(found: WhatIf) -> Iterator[Page]:
    """Every table of the answer that has a row."""
    for noun, lines in (
        ("job", differences.by_job(found.tally)),
        ("team", differences.by_team(found.tally)),
        ("model", differences.by_model(found.tally)),
    ):
        columns = (noun, "why", "requests", "booked", "would be", "difference")
        yield Page(f"Spend by {noun}", columns, [_row(line) for line in lines], 2)
    refused = differences.refusals(found.tally)
    if refused:
        rows = [
            (job, why, f"{sums.requests:,}", for_people(sums.booked))
            for (job, why), sums in sorted(refused.items())
        ]
        yield Page("Requests that would be refused", ("job", "why", "requests", "booked"), rows, 2)
    if found.hits:
        rows_ = [_hit(found, hit) for hit in found.hits[:HITS_SHOWN]]
        more = len(found.hits) - HITS_SHOWN
        title = "Budgets that would have been reached" + (
            f" (and {more:,} more)" if more > 0 else ""
        )
        columns_ = ("budget", "for", "when", "limit", "would be", "beyond", "then")
        yield Page(title, columns_, rows_, 3)
    if leaving := _leaving(found):
        yield Page(
            "Requests that would leave the house", ("job", "from", "to", "requests"), leaving, 3
        )
    if changed := list(_parameters(found)):
        yield Page(
            "Parameters", ("job", "what", "requests told so", "would be told so"), changed, 2
        )


def as_data(found: WhatIf, name: str) -> dict[str, Any]:
    """The whole answer, exact."""
    whole = differences.total(found.tally)
    tally = found.tally
    return {
        "file": name,
        "version": found.routes.version,
        "live_version": None if found.live is None else found.live.number,
        "from": to_text(found.period.start),
        "to": to_text(found.period.end),
        "entries": whole.entries,
        **_whole(whole),
        "by_job": [_line(line) for line in differences.by_job(tally)],
        "by_team": [_line(line) for line in differences.by_team(tally)],
        "by_model": [_line(line) for line in differences.by_model(tally)],
        "refused": [
            {"job": job, "why": why, "requests": sums.requests, "booked_nanos": sums.booked}
            for (job, why), sums in sorted(differences.refusals(tally).items())
        ],
        "budgets": [_hit_data(hit) for hit in found.hits],
        "residency": {
            "confined_requests": _requests(found, CONFINED),
            "requests_in_the_house": _requests(found, IN_HOUSE),
        },
        "parameters": {
            "told_before": _told(tally.told_before),
            "told_after": _told(tally.told_after),
            "defaults": found.defaults,
        },
        "warnings": warnings(found),
        "notes": notes(found),
    }


def follow_headline(found: Promise) -> str:
    """What was promised and what came, in one sentence."""
    promised, delivered = found.jobs[0].promised, found.jobs[0].delivered
    said = "had no requests to go by"
    if promised.requests:
        said = f"promised {percent(promised.change)} on {promised.requests:,} requests"
    came = (
        f"it delivered {percent(delivered.change)} on {delivered.requests:,} requests since"
        f" ({for_people(delivered.after)} booked; version {found.before.number} would have"
        f" cost {for_people(delivered.before)})."
    )
    return (
        f"Version {found.version.number} {said} before it went live on"
        f" {to_datetime(found.version.live_at):%Y-%m-%d %H:%M} UTC;"
        f" {came if delivered.requests else 'there were no requests since.'}"
    )


def follow_page(found: Promise) -> Page:
    """Promised against delivered, job by job."""
    columns = (
        *("job", "promised", "delivered", "requests before", "since"),
        *("tokens in, out before", "since"),
    )
    rows = [_outcome(one) for one in found.jobs if one.job != ALL]
    return Page("Promised and delivered", columns, rows)


def follow_data(found: Promise) -> dict[str, Any]:
    """The same, exact."""
    return {
        "version": found.version.number,
        "version_before": found.before.number,
        "live_at": to_text(found.version.live_at),
        "promised_from": to_text(found.promised_from.start),
        "delivered_until": to_text(found.delivered_in.end),
        "jobs": [
            {
                "job": one.job or None,
                "promised": _side(one.promised),
                "delivered": _side(one.delivered),
            }
            for one in found.jobs
        ],
    }


def percent(change: Fraction | None) -> str:
    """A change as people read it; "new" from nothing, and how many times what is many times."""
    if change is None:
        return "new"
    return f"x{float(change + 1):.0f}" if change >= _MANY_TIMES else f"{float(change * 100):+.1f}%"


def signed(nanos: int) -> str:
    """An amount with its sign: "+$1.00"."""
    sign = "-" if nanos < 0 else "+" if nanos > 0 else ""
    return f"{sign}{for_people(abs(nanos))}"


def _row(line: Line) -> tuple[str, ...]:
    change = Fraction(line.difference, line.booked) if line.booked else None
    told = "" if line.difference == 0 else f" ({percent(change)})"
    return (
        line.name or "-",
        _because(line),
        f"{line.requests:,}",
        for_people(line.booked),
        for_people(line.replayed),
        f"{signed(line.difference)}{told}",
    )


def _because(line: Line) -> str:
    found = sorted(line.reasons.items(), key=lambda one: (-abs(one[1].nanos), one[0]))
    told = [f"{why} {signed(reason.nanos)}" for why, reason in found[:REASONS_SHOWN]]
    more = len(found) - REASONS_SHOWN
    return "; ".join([*told, *([f"and {more} more"] if more > 0 else [])])


def _hit(found: WhatIf, hit: Hit) -> tuple[str, ...]:
    unit = hit.budget.unit
    when = f"{_local(found, hit.slot):%Y-%m-%d %H:%M:%S}"
    known = f", counted from {_local(found, hit.since):%Y-%m-%d}" if hit.since else ""
    return (
        f"{hit.budget.name} ({hit.budget.period})",
        hit.subject or str(hit.budget.scope),
        when + known,
        quantity(hit.limit, unit),
        quantity(hit.charged, unit),
        quantity(hit.beyond, unit),
        "refuses" if hit.budget.hard else "warns",
    )


def _hit_data(hit: Hit) -> dict[str, Any]:
    return {
        "budget": hit.budget.name,
        "subject": hit.subject,
        "period": hit.budget.period,
        "starts_at": to_text(hit.starts_at) if hit.starts_at else None,
        "reached_at": to_text(hit.slot),
        "unit": hit.budget.unit,
        "limit": hit.limit,
        "charged": hit.charged,
        "beyond": hit.beyond,
        "hard": hit.budget.hard,
        "counted_from": to_text(hit.since) if hit.since else None,
    }


def _leaving(found: WhatIf) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for group, sums in sorted(found.tally.groups.items()):
        if group.leaves:
            to = group.new_target
            said = f"{to} or a fallback" if group.leaves == CONFINED else to
            rows.append((group.job, group.target, said, f"{sums.requests:,}"))
    return rows


def _parameters(found: WhatIf) -> Iterator[tuple[str, ...]]:
    before, after = found.tally.told_before, found.tally.told_after
    for job, sentence in sorted(before.keys() | after.keys()):
        yield job, sentence, f"{before[job, sentence]:,}", f"{after[job, sentence]:,}"
    cut = differences.summed(found.tally, lambda group: group.job)
    for job, sums in sorted(cut.items()):
        if sums.cut:
            yield job, "answers cut at the new output limit", "0", f"{sums.cut:,}"
        if sums.beyond_usual:
            said = "answers longer than the new default limit, cut if their callers state none"
            yield job, said, "", f"{sums.beyond_usual:,}"
    for job, told in sorted(found.defaults.items()):
        for sentence in told:
            yield job, f"default: {sentence}", "", "who states none"


def _requests(found: WhatIf, leaves: str) -> int:
    return sum(s.requests for group, s in found.tally.groups.items() if group.leaves == leaves)


def _whole(whole: Total) -> dict[str, Any]:
    answered = whole.booked - whole.refused_booked
    return {
        "requests": whole.requests,
        "booked_nanos": whole.booked,
        "replayed_nanos": whole.replayed,
        "refused_requests": whole.refused,
        "refused_booked_nanos": whole.refused_booked,
        "difference_nanos": whole.replayed - answered,
        "difference_usd": format_dollars(whole.replayed - answered),
        "change_percent": None if whole.change is None else float(whole.change * 100),
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "requests": line.requests,
        "booked_nanos": line.booked,
        "replayed_nanos": line.replayed,
        "difference_nanos": line.difference,
        "difference_usd": format_dollars(line.difference),
        "reasons": [
            {"why": why, "entries": reason.entries, "nanos": reason.nanos}
            for why, reason in line.reasons.items()
        ],
    }


def _told(counts: Any) -> list[dict[str, Any]]:
    return [
        {"job": job, "change": sentence, "requests": count}
        for (job, sentence), count in sorted(counts.items())
    ]


def _outcome(one: Outcome) -> tuple[str, ...]:
    promised, delivered = one.promised, one.delivered
    return (
        one.job,
        _change(promised),
        _change(delivered),
        f"{promised.requests:,}",
        f"{delivered.requests:,}",
        _sizes(promised),
        _sizes(delivered),
    )


def _change(side: Side) -> str:
    if not side.requests:
        return "no requests"
    return f"{percent(side.change)} of {for_people(side.before)}"


def _sizes(side: Side) -> str:
    return f"{side.tokens(side.read):,}, {side.tokens(side.written):,}"


def _side(side: Side) -> dict[str, Any]:
    return {
        "requests": side.requests,
        "before_nanos": side.before,
        "after_nanos": side.after,
        "change_percent": None if side.change is None else float(side.change * 100),
        "input_tokens": side.read,
        "output_tokens": side.written,
    }


def _local(found: WhatIf, moment: int) -> datetime:
    return to_datetime(moment).astimezone(found.routes.time_zone)
