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
from gateway.metrics import Metrics
from gateway.pipeline.live import Live
from gateway.store.database import DatabaseDown
from gateway.treasury.standing import Standing

_ALL = "organisation"
_BUDGET_LABELS = ["budget", "subject", "unit", "period"]
_BUDGET_GAUGES: tuple[tuple[str, str, Callable[[Standing], float]], ...] = (
    (
        "limit",
        "The limit of a budget in force now, raises included, in its unit (usd: nano-dollars).",
        lambda standing: standing.limit,
    ),
    (
        "spent",
        "What is spent of a budget, corrections included, in its unit (usd: nano-dollars).",
        lambda standing: standing.spent,
    ),
    (
        "held",
        "What open requests hold of it, in its unit (usd: nano-dollars).",
        lambda standing: standing.held,
    ),
    (
        "period_seconds",
        "How long the period of a budget is that runs now.",
        lambda standing: (standing.ends_at - standing.starts_at) / MICROS,
    ),
    (
        "period_ends_timestamp_seconds",
        "When the period of a budget ends that runs now, in seconds since 1970.",
        lambda standing: standing.ends_at / MICROS,
    ),
)


class BudgetGauges(Collector):
    """What each budget of now has as its limit, spent and held, and its period, read from the
    books at each scrape: with what others have corrected, and the raises that are in force now.

    Budgets over tags and keys are left out: a tag's values are the caller's, a key is nobody
    else's business, and neither is a closed set.
    """

    def __init__(
        self, standings: Callable[[], list[Standing]], open_budgets: Callable[[], frozenset[str]]
    ) -> None:
        """`standings` asks the books, and may block."""
        self._standings, self._open_budgets = standings, open_budgets

    def collect(self) -> Iterable[Metric]:
        """A gauge for each of `_BUDGET_GAUGES`; none when the books are out of reach."""
        try:
            standings = self._standings()
        except DatabaseDown:
            return
        names = self._open_budgets()
        # one for each team (app, job) has no subject yet while nobody has asked for anything
        shown = [s for s in standings if s.budget in names and (s.subject or s.scope == _ALL)]
        for name, text, value in _BUDGET_GAUGES:
            gauge = GaugeMetricFamily(f"jobgate_budget_{name}", text, labels=_BUDGET_LABELS)
            for standing in shown:
                labels = [getattr(standing, label) for label in _BUDGET_LABELS]
                gauge.add_metric(labels, value(standing))
            yield gauge


class OperationsDoors:
    """The three endpoints."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        live: Live,
        problems: Callable[[], list[str]],
        remarks: Callable[[], list[str]],
    ) -> None:
        self._metrics, self._clock, self._live = metrics, clock, live
        self._problems, self._remarks = problems, remarks

    def health_routes(self) -> list[Route]:
        """Where those are that every listener has."""
        return [Route("/healthz", self.health), Route("/readyz", self.ready)]

    def metrics_route(self) -> Route:
        """Where the figures are."""
        return Route("/metrics", self.show)

    async def health(self, _request: Request) -> Response:
        """The process runs."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """200 when requests are served, with what somebody should look at; else 503 with why."""
        problems = self._problems()
        if problems:
            return JSONResponse({"status": "not ready", "problems": problems}, status_code=503)
        remarks = self._remarks()
        return JSONResponse({"status": "ready", **({"remarks": remarks} if remarks else {})})

    async def show(self, _request: Request) -> Response:
        """Prometheus's text; rendered in a thread, so that a scrape stalls nobody."""
        age = (self._clock.now() - self._live.now.loaded_at) / MICROS
        self._metrics.configuration_age.set(age)
        text = await asyncio.to_thread(render, self._metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def render(registry: CollectorRegistry) -> bytes:
    """All metrics as text."""
    return generate_latest(registry)
