"""Every metric of the gateway, on one page.

Labels come from closed sets only: jobs, targets and budgets of routes.yaml, and the vocabularies
below; never a key, a tag value or anything a caller can make up. Children are kept, because
looking one up costs four times what counting does. Money here is for watching; the books are
what counts, and a dashboard about money reads them.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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


class Metrics:
    """The metrics of one running gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._histograms: dict[tuple[Histogram, tuple[str, ...]], Histogram] = {}
        self._of_requests()
        self._of_providers()
        self._of_the_books()
        self._of_the_process()

    def _of_requests(self) -> None:
        registry = self.registry
        self.requests = Counter(
            "jobgate_requests",
            "Requests that ended, by job, target, outcome and whose fault it was.",
            ["job", "target", "outcome", "fault"],
            registry=registry,
        )
        self.tokens = Counter(
            "jobgate_tokens",
            "Tokens of committed entries, by class.",
            ["job", "target", "token_class"],
            registry=registry,
        )
        self.spend = Counter(
            "jobgate_spend_nanodollars",
            "Money of committed entries, in nano-dollars; corrections downwards are not taken off.",
            ["job", "target", "quality"],
            registry=registry,
        )
        self.overrun = Counter(
            "jobgate_overrun_nanodollars",
            "Money that providers billed beyond the ceiling of a hold.",
            ["job", "target"],
            registry=registry,
        )
        self.added = Histogram(
            "jobgate_added_seconds",
            "Time that the gateway itself added to an answer.",
            ["job"],
            buckets=_SHORT,
            registry=registry,
        )

    def _of_providers(self) -> None:
        registry = self.registry
        self.upstream = Histogram(
            "jobgate_upstream_seconds",
            "Time from sending a call to the provider to the end of its answer.",
            ["job", "target"],
            buckets=_LONG,
            registry=registry,
        )
        self.first_token = Histogram(
            "jobgate_first_token_seconds",
            "Time from sending a streamed call to the provider to the first bytes of its answer.",
            ["job", "target"],
            buckets=_LONG,
            registry=registry,
        )
        self.attempts = Counter(
            "jobgate_upstream_attempts",
            "Calls to providers, by target and how they ended.",
            ["target", "outcome"],
            registry=registry,
        )
        self.egress = Counter(
            "jobgate_egress_requests",
            "Calls that left for a provider, by job and destination.",
            ["job", "provider", "residency"],
            registry=registry,
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
        self.refused_keys = Counter(
            "jobgate_authentication_failures", "Requests without a good key.", registry=registry
        )

    def count(self, counter: Counter, labels: tuple[str, ...], amount: float = 1) -> None:
        """Add to a labelled counter."""
        child = self._counters.get((counter, labels))
        if child is None:
            child = self._counters[counter, labels] = counter.labels(*labels)
        child.inc(amount)

    def observe(self, histogram: Histogram, labels: tuple[str, ...], seconds: float) -> None:
        """Add an observation to a labelled histogram."""
        child = self._histograms.get((histogram, labels))
        if child is None:
            child = self._histograms[histogram, labels] = histogram.labels(*labels)
        child.observe(seconds)

    def ended(self, job: str, target: str, outcome: str) -> None:
        """Count a request that ended; an outcome outside the vocabulary counts as `other`."""
        known = outcome if outcome in OUTCOMES else "other"
        self.count(self.requests, (job, target, known, OUTCOMES[known]))
