"""/healthz, /readyz and /metrics: for machines that watch machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.clock import MICROS, Clock
from gateway.ledger.queries import Ledger
from gateway.metrics import Metrics
from gateway.store.database import DatabaseDown

_BUDGET_LABELS = ["budget", "subject", "unit", "period"]


class BudgetGauges(Collector):
    """What each budget of now has as its limit, spent and held, read from the books.

    Budgets over tags and keys are left out: a tag's values are the caller's, a key is nobody
    else's business, and neither is a closed set.
    """

    def __init__(self, ledger: Ledger, clock: Clock, open_budgets: frozenset[str]) -> None:
        self._ledger, self._clock, self._open_budgets = ledger, clock, open_budgets

    def collect(self) -> Iterable[Metric]:
        """The three gauges; none when the books are out of reach."""
        try:
            balances = self._ledger.balances_at(self._clock.now())
        except DatabaseDown:
            return
        for name, column, text in (
            ("jobgate_budget_limit", "limit_value", "The limit of a budget, in its unit."),
            ("jobgate_budget_spent", "spent", "What is spent of a budget, in its unit."),
            ("jobgate_budget_held", "held", "What open requests hold of it, in its unit."),
        ):
            gauge = GaugeMetricFamily(name, text, labels=_BUDGET_LABELS)
            for row in balances:
                if row["budget"] in self._open_budgets:
                    gauge.add_metric([str(row[label]) for label in _BUDGET_LABELS], row[column])
            yield gauge


class OperationsDoors:
    """The three endpoints."""

    def __init__(
        self, metrics: Metrics, clock: Clock, loaded_at: int, problems: Callable[[], list[str]]
    ) -> None:
        self._metrics, self._clock, self._loaded_at = metrics, clock, loaded_at
        self._problems = problems

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/healthz", self.health),
            Route("/readyz", self.ready),
            Route("/metrics", self.show),
        ]

    async def health(self, _request: Request) -> Response:
        """The process runs."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """200 when requests are served, else 503 with the reasons."""
        problems = self._problems()
        if problems:
            return JSONResponse({"status": "not ready", "problems": problems}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def show(self, _request: Request) -> Response:
        """Prometheus's text; rendered in a thread, so that a scrape stalls nobody."""
        age = (self._clock.now() - self._loaded_at) / MICROS
        self._metrics.configuration_age.set(age)
        text = await asyncio.to_thread(render, self._metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def render(registry: CollectorRegistry) -> bytes:
    """All metrics as text."""
    return generate_latest(registry)
