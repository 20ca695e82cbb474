"""The ledger beside the provider's bill, attempt by attempt, when a chaos run is over.

An attempt is found by the mark of its request, which the provider has in the prompt and the
ledger in the tag `run`; among the attempts of one request by the provider's id of the answer, and
where that was never heard, by the order of the attempts at a model.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.ledger.audit import audit
from gateway.ledger.entries import ADJUST, LAPSE, RELEASE, REPORTED
from gateway.store.database import Database
from tests.chaos.bill import Attempt
from tests.treasury.booking import rows

ANSWERED = frozenset({"reported", "counted"})
"""Qualities that the entry of an answer may have whose last byte has left."""


@dataclass(slots=True)
class Booked:
    """What the ledger has for one attempt, corrections included."""

    id: str
    number: int
    request_id: str
    kind: str
    quality: str
    outcome: str
    model: str
    upstream_id: str
    reason: str
    nanos: int

    def __str__(self) -> str:
        said = ", ".join(filter(None, (self.kind, self.quality, self.outcome, self.reason)))
        return f"{self.nanos} nanos by {self.id} ({said})"


@dataclass(slots=True)
class Sums:
    """Attempts of one quality: how many, what the provider charges, what the ledger has."""

    attempts: int = 0
    billed: int = 0
    booked: int = 0


@dataclass(slots=True)
class Verdict:
    """What the comparison came to; no offenders is how it should be."""

    by_quality: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    not_billed: Sums = field(default_factory=Sums)
    """Entries of attempts that the provider does not charge, or never saw."""
    lapsed: int = 0
    entries: int = 0
    offenders: list[str] = field(default_factory=list)

    def judge(self, attempt: Attempt, booked: Booked) -> None:
        """Lay one attempt of the provider beside its entry."""
        if attempt.billed is None:
            self.judge_unbilled(booked)
            return
        sums = self.by_quality[booked.quality]
        sums.attempts += 1
        sums.billed += attempt.billed
        sums.booked += booked.nanos
        exact = booked.quality == REPORTED
        if booked.nanos < attempt.billed or (exact and booked.nanos != attempt.billed):
            self.offenders.append(
                f"chaos-{attempt.number}: {attempt.path} ({attempt.behaviour}) is billed"
                f" {attempt.billed} nanos, booked {booked}"
            )

    def judge_unbilled(self, booked: Booked) -> None:
        """An entry of something that the provider does not charge."""
        self.not_billed.attempts += 1
        self.not_billed.booked += booked.nanos
        if booked.quality == REPORTED and booked.nanos:
            self.offenders.append(f"chaos-{booked.number}: nothing is billed, booked {booked}")


def judge(
    database: Database,
    attempts: Iterable[Attempt],
    answered: Mapping[str, int],
    keyed: Callable[[int], bool],
) -> Verdict:
    """Compare everything. `answered` are ids of requests that were answered whole; `keyed` tells
    whether the request of a number had an Idempotency-Key."""
    verdict = Verdict()
    findings, verdict.entries = audit(database, "main")
    verdict.offenders += [f"audit: {finding}" for finding in findings]
    booked = read(database)
    verdict.lapsed = sum(entry.kind == LAPSE for entry in booked)
    by_number: dict[int, list[Booked]] = defaultdict(list)
    for entry in booked:
        by_number[entry.number].append(entry)
    seen: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        seen[attempt.number].append(attempt)
    for number in sorted(by_number.keys() | seen.keys()):
        _judge_request(verdict, seen[number], by_number[number])
        if keyed(number):
            _charged_once(verdict, number, by_number[number])
    qualities = {entry.request_id: entry for entry in booked if entry.kind != RELEASE}
    for request_id, number in answered.items():
        entry = qualities.get(request_id)
        if entry is None or entry.quality not in ANSWERED:
            verdict.offenders.append(f"chaos-{number} was answered, booked {entry}")
    return verdict


def read(database: Database) -> list[Booked]:
    """Every attempt in the ledger, in the order in which they were admitted."""
    columns = "id, tags, request_id, kind, quality, outcome, model, upstream_id, reason"
    found: dict[str, Booked] = {}
    for *told, corrects in rows(
        database,
        f"SELECT {columns}, amount_nanos, corrects FROM entries ORDER BY admitted_at, attempt, id",
    ):
        entry_id, tags, *rest = told
        number = int(json.loads(tags)["run"].removeprefix("chaos-"))
        entry = Booked(entry_id, number, *rest)
        if entry.kind != ADJUST:
            found[entry_id] = entry
            continue
        corrected = found[corrects]
        corrected.nanos += entry.nanos
        corrected.quality = entry.quality
    return list(found.values())


def _judge_request(verdict: Verdict, seen: Sequence[Attempt], booked: Sequence[Booked]) -> None:
    """All attempts of one request. Each entry is used for one attempt at the most."""
    left = list(booked)
    unknown: list[Attempt] = []
    for attempt in seen:
        known = [
            entry for entry in left if entry.upstream_id and entry.upstream_id == attempt.answer_id
        ]
        if known:
            left.remove(known[0])
            verdict.judge(attempt, known[0])
        else:
            unknown.append(attempt)
    for attempt in unknown:
        same = [entry for entry in left if entry.kind != RELEASE and entry.model == attempt.model]
        if same:
            left.remove(same[0])
            verdict.judge(attempt, same[0])
        else:
            verdict.offenders.append(
                f"chaos-{attempt.number}: {attempt.path} ({attempt.behaviour}) is billed"
                f" {attempt.billed} nanos, and has no entry"
            )
    for entry in left:
        verdict.judge_unbilled(entry)


def _charged_once(verdict: Verdict, number: int, booked: Sequence[Booked]) -> None:
    """Of requests with one Idempotency-Key, one at the most may have cost something."""
    charged = {entry.request_id for entry in booked if entry.nanos}
    if len(charged) > 1:
        verdict.offenders.append(f"chaos-{number} was charged {len(charged)} times: {charged}")
