"""Spending by chance: attempts of all kinds, written through the treasury's own groups.

What hypothesis draws is a list of `Spent`; `write` makes books of it. Every kind of entry comes up:
charges that were reported, counted or stated; releases, lapses and late settlements; what another
model cost in the same attempt; corrections of money and of tokens, some of them after the month
that they are about was closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from gateway.clock import MICROS
from gateway.ledger.entries import CHARGE_STATED, COUNTED, REPORTED, Aside, Entry
from gateway.ledger.months import ClosedMonth
from gateway.metering.usage import Usage
from gateway.treasury.budgets import Payer
from tests.ledger.spending import Spending, moment
from tests.treasury.booking import RATES, RELEASED, charged, cost

TEAMS = ("brand", "legal", "data")
APPS = ("site", "shop", "mail", "bot")
"""Of each team: twelve in all, more than a table of the overview shows."""
JOBS = ("extraction", "narrative", "volume", "a-job-that-is-gone")
TARGETS = ("openai/gpt-test", "openai/gpt-spare", "mistral/mistral-test", "ollama/llama-test")
STAGES = ("", "draft", "final", "a stage & more")
KINDS = (
    *("reported", "counted", "stated", "beside", "released", "lapses", "settled late"),
    *("corrected", "recounted", "the first is corrected"),
)
CEILING = 10**13
"""Nano-dollars that each attempt holds: more than any of them costs."""
LAST_MINUTE = 48 * 24 * 60 - 30
_CLOSING_AT = 33 * 24 * 60


@dataclass(frozen=True)
class Spent:
    """One attempt: who, when, how much, and what became of it."""

    team: str
    app: str
    job: str
    target: str
    stage: str
    minutes: int
    """After the beginning of the books."""
    usage: Usage
    nanos: int
    """What is stated, or held by what lapses; odd amounts as well as even ones."""
    how: str

    @property
    def payer(self) -> Payer:
        """Who pays for it."""
        tags = {"stage": self.stage} if self.stage else {}
        app = f"{self.team}-{self.app}"
        return Payer(self.team, app, f"key_{app}", self.job, tags)


_tokens = st.integers(0, 5_000)
spent = st.builds(
    Spent,
    team=st.sampled_from(TEAMS),
    app=st.sampled_from(APPS),
    job=st.sampled_from(JOBS),
    target=st.sampled_from(TARGETS),
    stage=st.sampled_from(STAGES),
    minutes=st.integers(0, LAST_MINUTE),
    usage=st.builds(Usage, input=_tokens, output=_tokens, cache_read=_tokens, reasoning=_tokens),
    nanos=st.integers(1, 10**12),
    how=st.sampled_from(KINDS),
)


def write(
    books: Spending,
    all_spent: Sequence[Spent],
    *,
    since: int | None = None,
    closes: str = "",
) -> None:
    """Spend it, in order of time, from `since` on (microseconds; else the first of October).

    A month that `closes` names is closed on the 33rd day, in the midst of it.
    """
    start = moment("2026-10-01T00:00:00+02:00") if since is None else since
    made: list[Entry] = []
    for one in sorted(all_spent, key=lambda one: one.minutes):
        if closes and one.minutes > _CLOSING_AT:
            closes = _close(books, start, closes)
        books.clock.micros = start + one.minutes * 60 * MICROS
        _spend(books, one, made)
    if closes:
        _close(books, start, closes)


def _close(books: Spending, start: int, month: str) -> str:
    books.clock.micros = start + _CLOSING_AT * 60 * MICROS
    assert isinstance(books.close(month), ClosedMonth)
    return ""


def _spend(books: Spending, one: Spent, made: list[Entry]) -> None:
    """One attempt from its hold to its end, and what is corrected of it."""
    if one.how in ("lapses", "settled late"):
        books.lapsed(one.nanos, one.payer, settled=None if one.how == "lapses" else one.usage)
        return
    provider, _, model = one.target.partition("/")
    of = {"target": one.target, "provider": provider, "model": model}
    hold = books.hold(CEILING, 10**6, one.payer, **of)
    if one.how == "released":
        books.end(hold, RELEASED)
        return
    ending = charged(one.usage, quality=COUNTED if one.how == "counted" else REPORTED)
    if one.how == "stated":
        ending = charged(one.usage, amount_nanos=one.nanos, reason=CHARGE_STATED)
    elif one.how == "beside":
        other = charged(Usage(input=one.usage.output + 1), rates=RATES)
        beside = (Aside(target=f"{provider}/advisor", model="advisor", ending=other),)
        ending = charged(one.usage, beside=beside)
    made.append(books.end(hold, ending))
    if one.how == "corrected":
        books.adjust(made[-1].id, -(ending.amount_nanos // 3) or 1)
    elif one.how == "recounted":
        fewer = Usage(input=-(one.usage.input // 2), output=3)
        books.adjust(made[-1].id, cost(fewer), usage=fewer, tokens=fewer.total, rates=RATES)
    elif one.how == "the first is corrected":
        books.adjust(made[0].id, -(one.nanos // 7), reason="refund")
