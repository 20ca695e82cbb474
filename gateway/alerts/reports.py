"""A digest as people read it: a small page with a chart and tables, and as a message.

The page stands alone: styles and the chart (SVG) are in it, and nothing is loaded from anywhere.
A mail program that shows no SVG shows the table below it, with the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from gateway.alerts.digests import DIMENSIONS, Digest
from gateway.alerts.messages import Message, printable
from gateway.ledger.spending import Total
from gateway.money import for_people, quantity
from gateway.treasury.periods import SHORT_PERIODS
from gateway.treasury.standing import Standing

_ROWS = 8
"""Rows of a table; what is beyond them is added up in one more."""
_BUDGETS = 20
_WIDTH, _HEIGHT, _FOOT = 640, 160, 18
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:42em;margin:2em auto;"
    "padding:0 1em}h1{font-size:1.3em}h2{font-size:1em;margin:1.5em 0 .3em}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.2em .5em;text-align:right;"
    "border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}"
    "td:first-child,th:first-child{text-align:left}p.total{font-size:1.6em;margin:.2em 0}"
)
Subject = Callable[[Standing], str]
"""For whom a budget is, as a destination may hear it."""


def report(digest: Digest, organisation: str, subject: Subject) -> Message:
    """The digest as a message, with the page in it."""
    total, before = digest.total, digest.before
    lines = [
        f"{for_people(total.nanos)} for {total.requests:,} requests"
        f" ({_change(total.nanos, before.nanos, digest.period)}).",
        *(_leading(name, digest.by[name]) for name in DIMENSIONS if digest.by[name]),
    ]
    return Message(
        kind="digest",
        severity="info",
        title=f"Spend of the {digest.period} {digest.label}: {for_people(total.nanos)}",
        text="\n".join(lines),
        facts=_facts(digest),
        html=_page(digest, organisation, subject),
    )


def _facts(digest: Digest) -> dict[str, Any]:
    return {
        "period": digest.period,
        "label": digest.label,
        "nanos": digest.total.nanos,
        "nanos_before": digest.before.nanos,
        "nanos_reported": digest.reported_nanos,
        "requests": digest.total.requests,
        "tokens": digest.total.tokens,
        **{
            f"nanos_by_{name}": {key: one.nanos for key, one in digest.by[name].items()}
            for name in DIMENSIONS
        },
    }


def _page(digest: Digest, organisation: str, subject: Subject) -> str:
    total = digest.total
    title = f"Spend of the {digest.period} {digest.label}"
    unit = "hour" if digest.period == "day" else "day"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(printable(organisation))}: {escape(title)}</h1>",
        f'<p class="total">{for_people(total.nanos)}</p>',
        f"<p>{_change(total.nanos, digest.before.nanos, digest.period)}."
        f" {total.requests:,} requests, {total.tokens:,} tokens."
        f" {_share(digest.reported_nanos, total.nanos)} of it as providers reported it.</p>",
        _chart(digest.series, title),
        *(_table(name, digest.by[name], total.nanos) for name in DIMENSIONS),
        _budgets(digest.standings, subject),
        _rows(f"{unit.capitalize()} by {unit}", [unit, "spent"])
        + "".join(_row([label, for_people(nanos)]) for label, nanos in digest.series)
        + "</table>",
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _chart(series: Sequence[tuple[str, int]], title: str) -> str:
    """Bars at equal distances; a sum below zero, after corrections, has none."""
    highest = max((nanos for _, nanos in series), default=0)
    if highest <= 0:
        return ""
    step = _WIDTH // len(series)
    room = _HEIGHT - _FOOT
    bars, every = [], max(1, len(series) // 7)
    for index, (label, nanos) in enumerate(series):
        height = max(0, nanos) * room // highest
        told = escape(f"{label}: {for_people(nanos)}")
        left, top = index * step, room - height
        bars.append(
            f'<rect x="{left}" y="{top}" width="{max(1, step - 3)}" height="{height}"'
            f' fill="#2f6f8f"><title>{told}</title></rect>'
        )
        if index % every == 0:
            bars.append(
                f'<text x="{left}" y="{_HEIGHT - 4}" font-size="11" fill="#555">'
                f"{escape(label[-5:])}</text>"
            )
    name = escape(f"{title}, the highest bar is {for_people(highest)}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%"'
        f' role="img" aria-label="{name}">{"".join(bars)}</svg>'
    )


def _table(dimension: str, by: Mapping[str, Total], whole: int) -> str:
    if not by:
        return ""
    named = [(name or "none", one.nanos, one.requests) for name, one in by.items()]
    shown, rest = named[:_ROWS], named[_ROWS:]
    if rest:
        nanos, requests = sum(row[1] for row in rest), sum(row[2] for row in rest)
        shown.append((f"{len(rest)} others", nanos, requests))
    rows = (
        _row([name, for_people(nanos), _share(nanos, whole), f"{requests:,}"])
        for name, nanos, requests in shown
    )
    head = _rows(f"By {dimension}", [dimension, "spent", "share", "requests"])
    return head + "".join(rows) + "</table>"


def _budgets(standings: Sequence[Standing], subject: Subject) -> str:
    """The budgets that are closest to their limits; rates are left out."""
    asked = [one for one in standings if one.period not in SHORT_PERIODS and one.limit > 0]
    closest = sorted(asked, key=lambda one: -(one.spent * 1000 // one.limit))[:_BUDGETS]
    if not closest:
        return ""
    rows = (
        _row(
            [
                " ".join(filter(None, (one.budget, subject(one)))),
                quantity(one.spent, one.unit),
                quantity(one.limit, one.unit),
                _share(one.spent, one.limit),
            ]
        )
        for one in closest
    )
    head = _rows("Budgets now", ["budget", "spent", "limit", "share"])
    return head + "".join(rows) + "</table>"


def _rows(heading: str, columns: Iterable[str]) -> str:
    """The beginning of a table, which ends after its last row."""
    cells = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    return f"<h2>{escape(heading)}</h2><table><tr>{cells}</tr>"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(printable(cell))}</td>' for cell in cells)}</tr>"


def _leading(name: str, by: Mapping[str, Total]) -> str:
    first = list(by.items())[:3]
    told = ", ".join(f"{printable(key or 'none')} {for_people(one.nanos)}" for key, one in first)
    return f"By {name}: {told}{', ...' if len(by) > len(first) else ''}"


def _share(part: int, whole: int) -> str:
    return f"{part * 1000 // whole / 10:g} %" if whole > 0 else "none"


def _change(now: int, before: int, period: str) -> str:
    if before <= 0:
        return f"nothing the {period} before"
    percent = (now - before) * 100 // before
    return f"{percent:+} % against the {period} before"
