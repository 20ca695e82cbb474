"""The composition root: every concrete part is made here, and here alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import Route

from gateway.callers.callers import ADMIN, REFRESH_SECONDS, KeyRing
from gateway.callers.registry import NewKey, Registry
from gateway.clock import MICROS, Clock, SystemClock
from gateway.doors.admin import admin_router
from gateway.doors.answers import answer_in_one_shape
from gateway.doors.catalogue import CatalogueDoor
from gateway.doors.documentation import document
from gateway.doors.entrance import Entrance
from gateway.doors.front import Front
from gateway.doors.operations import BudgetGauges, OperationsDoors
from gateway.doors.requests import MANNERS, RequestDoor
from gateway.jobs.routes import Provider, Routes
from gateway.ledger.queries import Ledger
from gateway.metering.counting import TokenCounter
from gateway.metrics import Metrics
from gateway.pipeline.costing import Costing
from gateway.pipeline.endings import Endings
from gateway.pipeline.pipeline import Parts, Pipeline
from gateway.pipeline.repeats import Repeats, life_seconds
from gateway.prices.book import PriceBook
from gateway.settings import Settings
from gateway.store.checkpoints import Checkpoints
from gateway.store.database import Database, DatabaseDown
from gateway.store.ownership import Ownership
from gateway.store.schema import migrate
from gateway.treasury.claims import Claims
from gateway.treasury.committer import Committer
from gateway.treasury.drivers import LoopDriver, ThreadDriver
from gateway.treasury.groups import Group
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import RaiseBook
from gateway.treasury.treasury import Treasury
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.credentials import Credentials
from gateway.upstreams.litellm_loading import load_bridge
from gateway.upstreams.openai_compatible import OpenAICompatible
from gateway.upstreams.protocol import Upstream
from gateway.upstreams.translated import Anthropic, Gemini

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FirstKey:
    """A key that the first start made; its secret is shown this once."""

    key_id: str
    secret: str


class Gateway:
    """One running gateway: its ASGI app, and what begins and ends with it."""

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        book: PriceBook,
        *,
        environment: Mapping[str, str],
        announce: Callable[[FirstKey], None],
        clock: Clock | None = None,
    ) -> None:
        self.settings, self.routes, self.metrics = settings, routes, Metrics()
        self.clock = clock or SystemClock()
        self.database = Database(settings.database_url, full_sync=settings.full_sync)
        self._announce = announce
        self._ownership: Ownership | None = None
        self._opened = False
        self._problems: list[str] = ["starting"]
        self._loaded_at = self.clock.now()
        self._keys = KeyRing(self.database, settings.org, self.clock)
        self._raises = RaiseBook(self.database, settings.org, self.clock)
        self._registry = Registry(self.database, settings.org, self.clock)
        self._ledger = Ledger(self.database, settings.org)
        calendar = Calendar(routes.time_zone, routes.week_starts, routes.fiscal_year_starts)
        instance = secrets.token_hex(8)
        source = f"routes.yaml version {routes.version[:12]}"
        self._group = Group(settings.org, self.database.engine_name, instance, calendar, source)
        driver = LoopDriver() if self._commits_on_the_loop else ThreadDriver()
        self._committer = Committer(self.database, self._group, self.clock, self.metrics, driver)
        self._checkpoints = Checkpoints(self.database)
        treasury = Treasury(
            self._committer, routes.budgets, calendar, self.clock, lambda: self._raises.known
        )
        self._upstreams = {name: make_upstream(p) for name, p in routes.providers.items()}
        counter = TokenCounter()
        self._endings = Endings(treasury, counter, Costing(book), self.metrics)
        parts = Parts(
            treasury=treasury,
            upstreams=self._upstreams,
            credentials=Credentials(routes.providers, environment).of,
            breakers=self._breakers(),
            counter=counter,
            endings=self._endings,
            metrics=self.metrics,
            clock=self.clock,
        )
        entrance = Entrance(self._keys, self.metrics, settings.body_bytes_at_most)
        pipeline = Pipeline(routes, parts)
        self._repeats = self._make_repeats(instance)
        self._doors = {
            path: RequestDoor(entrance, pipeline, self._repeats, self.metrics, manners)
            for path, manners in MANNERS.items()
        }
        self.app = self._make_app(entrance)
        self.asgi = Front(self.app, {("POST", path): door for path, door in self._doors.items()})
        """What the server runs."""

    def _breakers(self) -> dict[str, Breaker]:
        targets = {target.name for job in self.routes.jobs.values() for target in job.targets}
        return {name: Breaker(self.metrics.breaker.labels(name).set) for name in targets}

    def _make_repeats(self, instance: str) -> Repeats:
        return Repeats(
            Claims(self.database, self.settings.org),
            self.clock,
            instance,
            alone=self.database.is_sqlite,
            life_seconds=life_seconds(self.routes),
        )

    def _make_app(self, entrance: Entrance) -> FastAPI:
        catalogue = CatalogueDoor(entrance, self.routes, self._loaded_at // MICROS)
        operations = OperationsDoors(
            self.metrics, self.clock, self._loaded_at, lambda: self.problems
        )
        closed_sets = frozenset(
            b.name for b in self.routes.budgets if b.scope.kind not in ("tag", "key")
        )
        self.metrics.registry.register(BudgetGauges(self._ledger, self.clock, closed_sets))
        self.metrics.configuration_loaded.set(self._loaded_at / MICROS)
        app = FastAPI(
            title="Jobgate",
            summary="Don't pick a model. Pick a job.",
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            routes=[
                *(Route(path, door, methods=["POST"]) for path, door in self._doors.items()),
                Route("/v1/models", catalogue, methods=["GET"]),
                Route("/v1/models/{name:path}", catalogue, methods=["GET"]),
                *operations.routes(),
            ],
        )
        app.include_router(admin_router(entrance, self._ledger))
        answer_in_one_shape(app)
        document(app)
        return app

    @property
    def _commits_on_the_loop(self) -> bool:
        """On SQLite a commit that does not wait for the disk is quicker than a change of thread."""
        return self.database.is_sqlite and not self.settings.full_sync

    @property
    def problems(self) -> list[str]:
        """Why it is not ready; empty when it serves."""
        if not self._problems and not self._committer.healthy:
            return ["the books cannot be written"]
        return self._problems

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(self.open_books)
        await asyncio.to_thread(self._refresh)
        self._committer.start()
        if self.database.is_sqlite:
            self._checkpoints.start()
        stopping = asyncio.Event()
        refreshing = asyncio.create_task(self._keep_fresh(stopping))
        self._problems = []
        try:
            yield
        finally:
            self._problems = ["stopping"]
            for door in self._doors.values():
                door.closing = True
            stopping.set()
            await refreshing
            await self._endings.drain()
            await self._repeats.drain()
            await self._committer.stop()
            await asyncio.to_thread(self._checkpoints.stop)
            for upstream in self._upstreams.values():
                await upstream.aclose()
            if self._ownership is not None:
                self._ownership.release()
            self.database.close()

    def open_books(self) -> None:
        """Own the database, bring its tables up to date, book what a dead process left open.

        Done at start if it was not done before. Raises ConfigurationError or DatabaseDown.
        """
        if self._opened:
            return
        if self.database.file is not None:
            self._ownership = Ownership(self.database.file)
        migrate(self.database)
        if self._ownership is not None:
            self._lapse_orphans()
        self._keys.refresh()
        if not self._keys.has_role(ADMIN):
            new = NewKey(team="platform", app="admin", role=ADMIN)
            self._announce(FirstKey(*self._registry.create(new)))
            self._keys.refresh()
        self._opened = True

    def _lapse_orphans(self) -> None:
        """Only one process serves a SQLite file, so every hold in it was left by a dead one."""
        with self.database.writing() as cursor:
            lapsed = self._group.lapse_foreign(cursor, self.clock.now())
        if lapsed:
            self.metrics.holds_lapsed.inc(len(lapsed))
            log.warning("%d holds of an earlier process lapsed at their ceilings", len(lapsed))

    def _refresh(self) -> None:
        with self.database.reading() as cursor:
            self._keys.refresh_in(cursor)
            self._raises.refresh_in(cursor)

    async def _keep_fresh(self, stopping: asyncio.Event) -> None:
        """Notice within a second what others change: keys, and raises of budgets."""
        reached = True
        while not stopping.is_set():
            try:
                await asyncio.to_thread(self._refresh)
                reached = True
            except DatabaseDown as error:
                if reached:
                    log.warning("keys and raises in memory stay as they are: %s", error)
                reached = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), REFRESH_SECONDS)


def make_upstream(provider: Provider) -> Upstream:
    """The part that speaks a provider's wire format; LiteLLM is loaded when one needs it."""
    if provider.wire == "openai":
        return OpenAICompatible(provider)
    if provider.wire == "anthropic":
        return Anthropic(provider)
    if provider.wire == "gemini":
        return Gemini(provider)
    return load_bridge(provider)
