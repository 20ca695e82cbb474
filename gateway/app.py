"""The composition root: every concrete part is made here, and here alone."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan

from gateway.alerts.alerting import Alerting, Ground
from gateway.alerts.delivering import Deliveries
from gateway.alerts.outbox import Outbox
from gateway.alerts.sending import Sender
from gateway.background import Freshness, sights
from gateway.callers.callers import KeyRing
from gateway.callers.changes import ITSELF, By, ChangeLog
from gateway.callers.directory import Directory
from gateway.callers.registry import NewKey, Registry
from gateway.callers.roles import ADMIN, Role
from gateway.callers.sessions import Sessions
from gateway.callers.sign_in_loading import load_sign_in
from gateway.clock import Clock, SystemClock
from gateway.doors.answers import answer_in_one_shape
from gateway.doors.catalogue import CatalogueDoor
from gateway.doors.entrance import Entrance
from gateway.doors.front import Front
from gateway.doors.office import TwoSides, WayIn, furnish, parse_address
from gateway.doors.operations import BudgetGauges, OperationsDoors
from gateway.doors.places import places_in
from gateway.doors.refusals import Refusals
from gateway.doors.requests import MANNERS, RequestDoor
from gateway.jobs.residency import prove
from gateway.jobs.routes import Provider, Routes
from gateway.jobs.versions import Version, Versions, Why
from gateway.ledger.queries import Ledger
from gateway.ledger.remembered_days import RememberedDays
from gateway.ledger.spending import Spending
from gateway.metering.counting import TokenCounter
from gateway.metrics import Metrics
from gateway.pipeline.beside import OtherPrices
from gateway.pipeline.costing import Costing
from gateway.pipeline.endings import Endings
from gateway.pipeline.live import Configuration, Live
from gateway.pipeline.pipeline import Parts, Pipeline
from gateway.pipeline.reloading import LOOK_SECONDS, Load, Making, Reloader, Source, of_rules
from gateway.pipeline.repeats import Repeats, life_seconds
from gateway.prices.book import PriceBook
from gateway.settings import Settings
from gateway.store.checkpoints import Checkpoints
from gateway.store.database import Database
from gateway.store.ownership import Ownership
from gateway.store.schema import migrate
from gateway.treasury.claims import Claims
from gateway.treasury.committer import Committer
from gateway.treasury.drivers import LoopDriver, ThreadDriver
from gateway.treasury.groups import Group
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import RaiseBook
from gateway.treasury.standing import Standing, Standings
from gateway.treasury.treasury import Treasury
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.credentials import Credentials
from gateway.upstreams.litellm_loading import load_bridge
from gateway.upstreams.openai_compatible import OpenAICompatible
from gateway.upstreams.protocol import Upstream
from gateway.upstreams.translated import Anthropic, Gemini
from gateway.web.sources import Sources

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
        self.settings, self.metrics = settings, Metrics()
        self.clock = clock or SystemClock()
        self._environment = environment
        self.database = Database(settings.database_url, full_sync=settings.full_sync)
        self._announce = announce
        self._ownership: Ownership | None = None
        self._opened = False
        self._problems: list[str] = ["starting"]
        self._keys = KeyRing(self.database, settings.org, self.clock)
        self._raises = RaiseBook(self.database, settings.org, self.clock)
        self._fresh = Freshness(self.database, self._keys, self._raises)
        self._registry = Registry(self.database, settings.org, self.clock)
        self._ledger = Ledger(self.database, settings.org)
        self._calendar = Calendar(routes.time_zone, routes.week_starts, routes.fiscal_year_starts)
        self._instance = secrets.token_hex(8)
        engine = self.database.engine_name
        self._group = Group(settings.org, engine, self._instance, self._calendar, _named(routes))
        self._versions = Versions(settings.org, engine)
        self._changes = ChangeLog(settings.org, engine)
        driver = LoopDriver() if self._commits_on_the_loop else ThreadDriver()
        self._committer = Committer(self.database, self._group, self.clock, self.metrics, driver)
        self._checkpoints = Checkpoints(self.database)
        self._counter = TokenCounter()
        self._live = Live(self._build(routes, book, None))
        making = Making(self._build, self._keep, self._adopt)
        self.reloader = Reloader(self._live, making, self.clock, self.metrics)
        entrance = Entrance(self._keys, self.metrics, settings.body_bytes_at_most)
        self._repeats, self._refusals = self._make_repeats(), Refusals(self.clock)
        self._doors = {
            path: RequestDoor(
                entrance, self._live, self._repeats, self.metrics, self._refusals, manners
            )
            for path, manners in MANNERS.items()
        }
        self.alerting = self._make_alerting()
        self.app, self.office_app = self._make_apps(entrance)
        straight = {("POST", path): door for path, door in self._doors.items()}
        self.asgi: ASGIApp = Front(self.app, straight)
        """What the server runs."""
        if settings.office_address:
            _host, port = parse_address(settings.office_address, settings.port)
            self.asgi = TwoSides(self.asgi, self.office_app, port)

    @property
    def routes(self) -> Routes:
        """The rules that are live."""
        return self._live.routes

    def follow(self, load: Load, look_seconds: float = LOOK_SECONDS) -> None:
        """Take over every change of the file in the settings; to be said before it serves.

        `load` reads rules and prices from files, and raises ConfigurationError.
        """
        self.reloader.follow(Source(self.settings.routes, load, look_seconds))

    def _build(self, routes: Routes, book: PriceBook, old: Configuration | None) -> Configuration:
        """All that is made from one version of the rules; what is as it was before is kept.

        Raises ConfigurationError when a private job could leave the house by them."""
        prove(routes)
        treasury = Treasury(
            self._committer, routes.budgets, self._calendar, self.clock, lambda: self._raises.known
        )
        others = OtherPrices(book, lambda: routes)
        self._counter.load(t.model for job in routes.jobs.values() for t in job.reachable)
        parts = Parts(
            treasury=treasury,
            upstreams={
                name: was.upstreams[name] if (was := _as_before(p, old)) else make_upstream(p)
                for name, p in routes.providers.items()
            },
            credentials=Credentials(routes.providers, self._environment).of,
            breakers=self._breakers(routes, old),
            counter=self._counter,
            endings=Endings(treasury, self._counter, Costing(book, others), self.metrics),
            metrics=self.metrics,
            clock=self.clock,
            others=others,
        )
        return Configuration(routes, book.version, parts, Pipeline(routes, parts), self.clock.now())

    def _breakers(self, routes: Routes, old: Configuration | None) -> dict[str, Breaker]:
        """A breaker for each target; one that is reached as before keeps what it has seen."""
        found: dict[str, Breaker] = {}
        for target in (target for job in routes.jobs.values() for target in job.reachable):
            if target.name in found:
                continue
            was = _as_before(target.provider, old)
            known = was.breakers.get(target.name) if was else None
            found[target.name] = known or Breaker(self.metrics.breaker.labels(target.name).set)
        return found

    def _adopt(self, old: Configuration, new: Configuration) -> None:
        """A version was put in force: what is not part of it learns of it."""
        self._group.source = _named(new.routes)
        self._repeats.allow_for(life_seconds(new.routes))
        for gone in old.parts.breakers.keys() - new.parts.breakers.keys():
            self.metrics.breaker.remove(gone)

    def _keep(self, routes: Routes, prices: str, why: Why, by: By) -> Version:
        """Write down what goes live, and who did it; raises DatabaseDown, and then it does not."""
        why = Why(why.cause, why.author, why.reason, self._instance)
        now = self.clock.now()
        with self.database.writing() as cursor:
            version, is_new = self._versions.keep(cursor, routes, prices, why, now)
            if is_new:
                self._changes.append(cursor, [of_rules(version)], by, now)
        return version

    def _make_repeats(self) -> Repeats:
        return Repeats(
            Claims(self.database, self.settings.org),
            self.clock,
            self._instance,
            alone=self.database.is_sqlite,
            life_seconds=life_seconds(self.routes),
            writable=lambda: self._committer.healthy,
        )

    def _make_alerting(self) -> Alerting:
        ground = Ground(
            database=self.database,
            org=self.settings.org,
            clock=self.clock,
            live=lambda: self.routes,
            metrics=self.metrics,
        )
        outbox, sender = Outbox(self.database, ground.org), Sender(self._environment, self.clock)
        deliveries = Deliveries(outbox, sender, ground.live, self.clock)
        seen = sights(ground, self._calendar, self._standings, self._live, self._refusals)
        return Alerting(ground, seen, deliveries)

    def _make_apps(self, entrance: Entrance) -> tuple[FastAPI, FastAPI]:
        """What is served in public and in the office: the same app, unless it has an address."""
        catalogue = CatalogueDoor(entrance, self._live)
        operations = OperationsDoors(
            self.metrics,
            self.clock,
            self._live,
            lambda: self.problems,
            lambda: self.reloader.remarks,
        )
        gauges = BudgetGauges(self._standings, lambda: _in_closed_sets(self.routes))
        self.metrics.registry.register(gauges)
        app = _new_app(
            [
                *(Route(path, door, methods=["POST"]) for path, door in self._doors.items()),
                Route("/v1/models", catalogue, methods=["GET"]),
                Route("/v1/models/{name:path}", catalogue, methods=["GET"]),
                *operations.health_routes(),
            ],
            self._lifespan,
        )
        office = app
        if self.settings.office_address:
            office = _new_app(operations.health_routes())
        office.router.routes.append(operations.metrics_route())
        sources = Sources(
            database=self.database,
            org=self.settings.org,
            clock=self.clock,
            ledger=self._ledger,
            spending=Spending(self.database, self.settings.org, RememberedDays()),
            registry=self._registry,
            directory=Directory(self.database, self.settings.org, self.clock),
            raises=self._raises,
            metrics=self.metrics,
            live=lambda: self.routes,
            source=lambda: self.reloader.source,
        )
        sessions = Sessions(self.database, self.settings.org, self.clock, self._keys)
        service = load_sign_in(self.settings.oidc, self.clock)
        way_in = WayIn(entrance, sessions, service, places_in(self.settings))
        furnish(office, sources, way_in, self._refusals, self.reloader, self.alerting)
        return app, office

    def _standings(self) -> list[Standing]:
        """How every budget stands now, as the next admission would find it. Blocks."""
        budgets, org = self.routes.budgets, self.settings.org
        found = Standings(self.database, org, budgets, self._calendar)
        return found.at(self.clock.now(), self._raises.known)

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
        await asyncio.to_thread(self._fresh.refresh)
        self._committer.start()
        if self.database.is_sqlite:
            self._checkpoints.start()
        stopping = asyncio.Event()
        running = (self._fresh.run, self.reloader.watch, self.alerting.run)
        tasks = [asyncio.create_task(run(stopping)) for run in running]
        with self.reloader.signalled():
            self._problems = []
            try:
                yield
            finally:
                await self._stop(stopping, *tasks)

    async def _stop(self, stopping: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
        """Let nothing new in, finish what is under way, and let go of everything."""
        self._problems = ["stopping"]
        for door in self._doors.values():
            door.closing = True
        stopping.set()
        await asyncio.gather(*tasks)
        await self._live.drain()
        await self._repeats.drain()
        await self._committer.stop()
        await asyncio.to_thread(self._checkpoints.stop)
        await self._live.aclose()
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
        if not self._keys.has_role(Role(ADMIN)):
            new = NewKey(team="platform", app="admin", role=ADMIN)
            self._announce(FirstKey(*self._registry.create(new, ITSELF)))
            self._keys.refresh()
        self.reloader.open()
        self._opened = True

    def _lapse_orphans(self) -> None:
        """Only one process serves a SQLite file, so every hold in it was left by a dead one."""
        with self.database.writing() as cursor:
            lapsed = self._group.lapse_foreign(cursor, self.clock.now())
        if lapsed:
            self.metrics.holds_lapsed.inc(len(lapsed))
            log.warning("%d holds of an earlier process lapsed at their ceilings", len(lapsed))


def _new_app(routes: Sequence[BaseRoute], lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    app = FastAPI(
        title="Jobgate",
        summary="Don't pick a model. Pick a job.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        routes=list(routes),
    )
    answer_in_one_shape(app)
    return app


def _as_before(provider: Provider, old: Configuration | None) -> Parts | None:
    """The parts of the version before, if it reaches this provider in the same way."""
    same = old is not None and old.routes.providers.get(provider.name) == provider
    return old.parts if same and old is not None else None


def _named(routes: Routes) -> str:
    """What the books call this version, where a limit changes with it."""
    return f"routes.yaml version {routes.version[:12]}"


def _in_closed_sets(routes: Routes) -> frozenset[str]:
    """Budgets whose subjects are few and known."""
    return frozenset(b.name for b in routes.budgets if b.scope.kind not in ("tag", "key"))


def make_upstream(provider: Provider) -> Upstream:
    """The part that speaks a provider's wire format; LiteLLM is loaded when one needs it."""
    if provider.wire == "openai":
        return OpenAICompatible(provider)
    if provider.wire == "anthropic":
        return Anthropic(provider)
    if provider.wire == "gemini":
        return Gemini(provider)
    return load_bridge(provider)
