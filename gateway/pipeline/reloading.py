"""Reading the rules again while requests are served: because the files changed, or on request.

The new version is made completely and checked first; it is written down in the books; then it is
put in force. When anything is wrong the old one stays in force, and that is said in the log, in
the metrics and to whoever asks `state`: what the files say and what is in force then differ until
somebody mends the files. The files are the one source of truth, and nothing here writes them.

A file is looked at once a second, by its content; it is read when it has not changed between two
looks, so an editor or a deployment that writes several files is left to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.callers.changes import By, Change
from gateway.clock import Clock
from gateway.errors import ConfigurationError
from gateway.jobs.files import Files, look, writer_of
from gateway.jobs.routes import Routes
from gateway.jobs.versions import FILE, SIGNAL, START, WENT_LIVE, Version, Why
from gateway.metrics import Metrics
from gateway.pipeline.live import Configuration, Live
from gateway.prices.book import PriceBook
from gateway.store.database import DatabaseConflict, DatabaseDown

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

Load = Callable[[Files], tuple[Routes, PriceBook]]
"""From files to rules and prices; raises ConfigurationError."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rules are, how they are read, and how often the files are looked at (seconds)."""

    path: Path
    load: Load
    look_seconds: float = LOOK_SECONDS


@dataclass(frozen=True, slots=True)
class Making:
    """How a version is made (`build`: rules, prices, the version before) and written down, and
    who else has to know of one that was put in force in place of another."""

    build: Callable[[Routes, PriceBook, Configuration], Configuration]
    keep: Callable[[Routes, str, Why, By], Version]
    adopt: Callable[[Configuration, Configuration], None]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why what the files say is not in force; `version` is empty when they cannot be read."""

    at: int
    version: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What is in force, and whether the files say the same."""

    live: Configuration
    version: Version | None
    """Its row in the books."""
    follows: bool
    """Whether there are files that it follows."""
    differs: bool
    rejected: Rejected | None


class Reloader:
    """Keeps what is in force up to date with the files of one source."""

    def __init__(self, live: Live, making: Making, clock: Clock, metrics: Metrics) -> None:
        self._live, self._making = live, making
        self._clock, self._metrics = clock, metrics
        self._source: Source | None = None
        self._version: Version | None = None
        self._rejected: Rejected | None = None
        self._names: tuple[str, ...] = ()
        self._tried = self._in_force = ""
        self._taking = asyncio.Lock()
        self._asked = asyncio.Event()

    def follow(self, source: Source) -> None:
        """Read these files from now on; what is in force now was read from them."""
        files = Files(source.path.name, texts=dict(self._live.routes.files))
        self._source, self._names = source, files.names
        self._tried = self._in_force = files.fingerprint()

    def open(self) -> None:
        """Write down the version that the process begins with. Raises DatabaseDown."""
        live = self._live.now
        author = "" if self._source is None else writer_of(self._source.path, self._names)
        why = Why(START, author, "the gateway started")
        self._version = self._making.keep(live.routes, live.prices, why, By(author, "", START))
        self._show()

    @contextlib.contextmanager
    def signalled(self) -> Iterator[None]:
        """Read the files whenever the process gets SIGHUP, as long as the block lasts."""
        loop = asyncio.get_running_loop()
        listens = self._source is not None and threading.current_thread() is threading.main_thread()
        if listens:
            loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        try:
            yield
        finally:
            if listens:
                loop.remove_signal_handler(signal.SIGHUP)

    @property
    def source(self) -> Source | None:
        """The files that are followed; None when there are none."""
        return self._source

    @property
    def remarks(self) -> list[str]:
        """What somebody should look at; not why, which is for those who may see the rules."""
        if self._rejected is None or self._source is None:
            return []
        return [f"{self._source.path.name} was rejected; the version before it stays live"]

    async def state(self) -> State:
        """What is in force, and what the files say at this moment."""
        source, differs = self._source, self._rejected is not None
        if source is not None and not differs:
            names = tuple(self._live.routes.files)
            differs = await asyncio.to_thread(look, source.path, names) != self._in_force
        return State(self._live.now, self._version, source is not None, differs, self._rejected)

    async def watch(self, stopping: asyncio.Event) -> None:
        """Look at the files until it is told to stop."""
        source, seen = self._source, ""
        while source is not None and not stopping.is_set():
            await self._pause(stopping, source.look_seconds)
            if self._asked.is_set():
                self._asked.clear()
                await self._try(SIGNAL, "SIGHUP")
                continue
            found = await asyncio.to_thread(look, source.path, self._names)
            if found != self._tried and found == seen:
                await self._try(FILE, "the file changed")
            seen = found

    async def reload(self, cause: str, by: By | None, reason: str) -> Version:
        """Read the files and put what they say in force; returns its row in the books.

        `by` is None when nobody asked: then it was whoever wrote the file. Raises
        ConfigurationError with all that is wrong, and DatabaseDown: then the version that was in
        force stays so. A caller who is cancelled meanwhile does not stop it half way.
        """
        return await asyncio.shield(asyncio.ensure_future(self._reload(cause, by, reason)))

    async def _try(self, cause: str, reason: str) -> None:
        with contextlib.suppress(ConfigurationError, DatabaseDown, DatabaseConflict):
            await self.reload(cause, None, reason)

    async def _pause(self, stopping: asyncio.Event, seconds: float) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in (stopping, self._asked)]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()

    async def _reload(self, cause: str, by: By | None, reason: str) -> Version:
        source = self._source
        if source is None:
            raise ConfigurationError(["this gateway follows no file"])
        async with self._taking:
            files = Files.at(source.path)
            asked = (cause, by, reason)
            try:
                made, version = await asyncio.to_thread(self._make, source, files, asked)
            except ConfigurationError as error:
                self._seen(files)
                self._reject(files, error.problems)
                raise
            except (DatabaseDown, DatabaseConflict) as error:
                self._tried = ""  # the files are right: the next look tries again
                self._reject(files, [f"it cannot be written down: {error}"])
                raise
            except Exception as error:  # a bug of ours must not end the watch, nor what is served
                log.exception("a bug: a version of the rules could not be made")
                self._seen(files)
                problems = [f"it could not be made: {type(error).__name__}; the log has more"]
                self._reject(files, problems)
                raise ConfigurationError(problems) from error
            self._seen(files)
            rejected, self._rejected = self._rejected, None
            self._in_force = files.fingerprint()
            if made is None and rejected is not None:
                log.info("%s says again what is in force, version %d", files.root, version.number)
            if made is not None:
                old = self._live.now
                self._live.swap(made)
                self._making.adopt(old, made)
                self._tell(old, made, version)
            self._version = version
            self._show()
            return version

    def _make(
        self, source: Source, files: Files, asked: tuple[str, By | None, str]
    ) -> tuple[Configuration | None, Version]:
        """The new version, complete and written down; None when it is in force. In a thread."""
        old, (cause, by, reason) = self._live.now, asked
        routes, book = source.load(files)
        same = (routes.version, book.version) == (old.routes.version, old.prices)
        if same and cause == FILE and self._version is not None:
            return None, self._version
        fixed = unchangeable(old.routes, routes)
        if fixed:
            raise ConfigurationError([f"{files.root}: {said}" for said in fixed])
        made = self._making.build(routes, book, old)
        by = by or By(writer_of(source.path, files.names), "", cause)
        return made, self._making.keep(routes, book.version, Why(cause, by.who, reason), by)

    def _seen(self, files: Files) -> None:
        """These files are known now, right or wrong: they are not read again until they change."""
        self._tried, self._names = files.fingerprint(), files.names

    # ---- telling

    def _reject(self, files: Files, problems: list[str]) -> None:
        before = self._rejected
        told = Rejected(self._clock.now(), files.version, tuple(problems))
        self._rejected = told
        self._metrics.configuration_differs.set(1)
        self._metrics.configuration_rejected.inc()
        if before is not None and (before.version, before.problems) == (
            told.version,
            told.problems,
        ):
            return
        log.error(
            "%s is NOT in force and version %s stays, because of:\n%s",
            files.root,
            self._live.routes.version[:12],
            "\n".join(problems),
        )

    def _tell(self, old: Configuration, made: Configuration, version: Version) -> None:
        if (old.routes.version, old.prices) == (made.routes.version, made.prices):
            log.info(
                "the rules were read again; they say what they said, version %d", version.number
            )
            return
        log.warning(
            "version %d (%s) of the rules is in force: %s (%s)",
            version.number,
            version.short,
            version.reason,
            version.author or "nobody knows who",
        )
        for warning in made.routes.warnings:
            log.warning("%s", warning)

    def _show(self) -> None:
        """The metrics of what is in force."""
        metrics, live = self._metrics, self._live.now
        metrics.configuration_differs.set(0)
        metrics.in_force(live.routes.version, live.loaded_at)


def of_rules(version: Version) -> Change:
    """What the log of changes says of a version that goes live."""
    told = {"version": version.hash, "cause": version.cause, "reason": version.reason}
    return Change(what=WENT_LIVE, subject=f"version {version.number}", after=told)


def unchangeable(old: Routes, new: Routes) -> list[str]:
    """What is different and cannot change while requests are served, with the reason.

    Periods of budgets begin by it: with another calendar the money of a period that is open would
    be counted in two, and could be spent twice.
    """
    found = []
    for name, before, after in (
        ("time_zone", old.time_zone.key, new.time_zone.key),
        ("week_starts", old.week_starts, new.week_starts),
        ("fiscal_year_starts", old.fiscal_year_starts, new.fiscal_year_starts),
    ):
        if before != after:
            found.append(
                f"organisation.{name}: cannot change while the gateway runs, because the periods"
                " of all budgets begin by it; restart it to change it"
            )
    return found
