"""Every metric of the gateway, on one page.

Labels come from closed sets only: jobs, targets and budgets of routes.yaml, and the vocabularies
below; never a key, a tag value or anything a caller can make up. Money here is for watching; the
books are what counts, and a dashboard about money reads them.

What moves with every request is a Tally or Timings: a dictionary, which becomes samples when
somebody scrapes. The library's own counters take a lock for each of a dozen steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.clock import MICROS

OUTCOMES = {
    "ok": "none",
    "caller_left": "caller",
    "bad_request": "caller",
    "not_authenticated": "caller",
    "forbidden": "caller",
    "unknown_job": "caller",
    "too_large": "caller",
    "duplicate": "caller",
    "budget_exhausted": "policy",
    "budget_busy": "policy",
    "rate_limited": "policy",
    "unpriced": "policy",
    "provider_refused": "provider",
    "provider_busy": "provider",
    "provider_broken": "provider",
    "provider_timed_out": "provider",
    "provider_cut": "provider",
    "no_credential": "gateway",
    "books_down": "gateway",
    "shutting_down": "gateway",
    "lapsed": "gateway",
    "other": "gateway",
}
"""How a request can end, and whose fault it was. `other` should never be seen: an alert watches."""

_SHORT = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Tally(Collector):
    """A counter by labels. Each set of labels is moved by one thread only; any may scrape."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self.name, self.labels, self._documentation = name, labels, documentation
        self.totals: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self.labels)
        for labels, total in self.totals.copy().items():
            family.add_metric(labels, total)
        yield family


class Timings(Collector):
    """A histogram of seconds by labels. Each set of labels is moved by one thread only."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self.name, self.labels, self._documentation = name, labels, documentation
        self.bounds = buckets
        self.found: dict[tuple[str, ...], list[float]] = {}
        """How many fell into each bucket, into none, and the sum of all."""
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """For the registry; a bucket there counts all that is below it."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self.labels)
        for labels, found in self.found.copy().items():
            *numbers, total = found.copy()
            so_far, buckets = 0.0, []
            for bound, number in zip((*map(str, self.bounds), "+Inf"), numbers, strict=True):
                so_far += number
                buckets.append((bound, so_far))
            family.add_metric(labels, buckets, total)
        yield family


class Metrics:
    """The metrics of one running gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_requests()
        self._of_providers()
        self._of_the_books()
        self._of_the_process()

    def _of_requests(self) -> None:
        registry = self.registry
        self.requests = Tally(
            "jobgate_requests",
            "Requests that ended, by job, target, outcome and whose fault it was.",
            ["job", "target", "outcome", "fault"],
            registry,
        )
        self.tokens = Tally(
            "jobgate_tokens",
            "Tokens of committed entries, by class.",
            ["job", "target", "token_class"],
            registry,
        )
        self.spend = Tally(
            "jobgate_spend_nanodollars",
            "Money of entries that this process committed, in nano-dollars: a rate to watch."
            " Corrections are in the books, and in jobgate_budget_spent.",
            ["job", "target", "quality"],
            registry,
        )
        self.overrun = Tally(
            "jobgate_overrun_nanodollars",
            "Money that providers billed beyond the ceiling of a hold.",
            ["job", "target"],
            registry,
        )
        self.added = Timings(
            "jobgate_added_seconds",
            "Time that the gateway itself added to an answer.",
            ["job"],
            _SHORT,
            registry,
        )

    def _of_providers(self) -> None:
        registry = self.registry
        self.upstream = Timings(
            "jobgate_upstream_seconds",
            "Time from sending a call to the provider to the end of its answer.",
            ["job", "target"],
            _LONG,
            registry,
        )
        self.first_token = Timings(
            "jobgate_first_token_seconds",
            "Time from sending a streamed call to the provider to the first bytes of its answer.",
            ["job", "target"],
            _LONG,
            registry,
        )
        self.attempts = Tally(
            "jobgate_upstream_attempts",
            "Calls to providers, by target and how they ended.",
            ["target", "outcome"],
            registry,
        )
        self.egress = Tally(
            "jobgate_egress_requests",
            "Calls that left for a provider, by job and destination.",
            ["job", "provider", "residency"],
            registry,
        )
        self.breaker = Gauge(
            "jobgate_breaker_state",
            "Breaker of a target: 0 closed, 1 half open, 2 open.",
            ["target"],
            registry=registry,
        )

    def _of_the_books(self) -> None:
        registry = self.registry
        self.holds_open = Gauge(
            "jobgate_holds_open", "Holds that this process has open.", registry=registry
        )
        self.holds_waiting = Gauge(
            "jobgate_holds_waiting", "Admissions that wait for held money.", registry=registry
        )
        self.holds_lapsed = Counter(
            "jobgate_holds_lapsed", "Holds that lapsed at their ceiling.", registry=registry
        )
        self.queue = Gauge(
            "jobgate_committer_queue", "Admissions and endings not committed.", registry=registry
        )
        self.batch = Histogram(
            "jobgate_committer_batch_size",
            "Admissions and endings in one commit.",
            buckets=_BATCH,
            registry=registry,
        )
        self.commit = Histogram(
            "jobgate_committer_commit_seconds",
            "Time of one commit.",
            buckets=_SHORT,
            registry=registry,
        )
        self.commit_failures = Counter(
            "jobgate_committer_failures", "Commits that the database refused.", registry=registry
        )
        self.audits = Counter(
            "jobgate_audits", "Audits of the books that this process finished.", registry=registry
        )
        self.audit_findings = Counter(
            "jobgate_audit_findings", "Findings of those audits.", registry=registry
        )

    def _of_the_process(self) -> None:
        registry = self.registry
        self.configuration_loaded = Gauge(
            "jobgate_configuration_loaded_timestamp_seconds",
            "When the live routes.yaml was loaded, in seconds since 1970.",
            registry=registry,
        )
        self.configuration_age = Gauge(
            "jobgate_configuration_age_seconds",
            "How long the live routes.yaml has been live.",
            registry=registry,
        )
        self.configuration_differs = Gauge(
            "jobgate_configuration_file_differs",
            "1 while routes.yaml says something that is not live, because it was rejected.",
            registry=registry,
        )
        self.configuration_rejected = Counter(
            "jobgate_configuration_rejected",
            "Times that routes.yaml was read and rejected; the version before it stayed live.",
            registry=registry,
        )
        self._configuration = Gauge(
            "jobgate_configuration_info",
            "The version of routes.yaml that is live; always 1.",
            ["version"],
            registry=registry,
        )
        self.refused_keys = Counter(
            "jobgate_authentication_failures", "Requests without a good key.", registry=registry
        )

    def in_force(self, version: str, loaded_at: int) -> None:
        """A version of the rules is live, loaded at `loaded_at` (microseconds since 1970)."""
        self._configuration.clear()
        self._configuration.labels(version[:12]).set(1)
        self.configuration_loaded.set(loaded_at / MICROS)

    def count(self, tally: Tally, labels: tuple[str, ...], amount: float = 1) -> None:
        """Add to a tally."""
        totals = tally.totals
        totals[labels] = totals.get(labels, 0) + amount

    def observe(self, timings: Timings, labels: tuple[str, ...], seconds: float) -> None:
        """Add an observation."""
        found = timings.found.get(labels)
        if found is None:
            found = timings.found[labels] = [0] * (len(timings.bounds) + 2)
        found[bisect_left(timings.bounds, seconds)] += 1
        found[-1] += seconds

    def ended(self, job: str, target: str, outcome: str) -> None:
        """Count a request that ended; an outcome outside the vocabulary counts as `other`."""
        known = outcome if outcome in OUTCOMES else "other"
        self.count(self.requests, (job, target, known, OUTCOMES[known]))
