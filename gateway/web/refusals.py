"""What this process has refused since it started, and why: from its counters.

A refused request holds nothing and costs nothing, so the books have no line for it. The counters
are those of one process; no money is read from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.metrics import Metrics

REASONS: Mapping[str, str] = {
    "budget_exhausted": "no budget had room for it",
    "budget_busy": "others held the money for it for too long",
    "rate_limited": "a limit by the minute or hour was used up",
    "unpriced": "its model has no price",
    "bad_request": "it could not be understood",
    "not_authenticated": "its key was not good",
    "forbidden": "its key may not use the job",
    "unknown_job": "there is no such job",
    "too_large": "it was too large",
    "duplicate": "it had the idempotency key of another one",
    "no_credential": "the provider's key is not there",
    "books_down": "the books could not be written",
    "shutting_down": "the process was about to end",
}
"""Outcomes that are refusals, as people say them."""


@dataclass(frozen=True, slots=True)
class Refused:
    """So many requests for a job, refused for a reason."""

    job: str
    reason: str
    count: int


def refused(metrics: Metrics) -> list[Refused]:
    """The refusals of this process, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for (job, _target, outcome, _fault), count in metrics.requests.totals.copy().items():
        if outcome in REASONS:
            counts[job, outcome] = counts.get((job, outcome), 0) + int(count)
    found = [Refused(job, REASONS[outcome], n) for (job, outcome), n in counts.items()]
    return sorted(found, key=lambda one: (-one.count, one.job, one.reason))
