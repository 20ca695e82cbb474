"""One chaos run on one engine: gateways, their database, a provider and callers, and the end.

When the storm is over, everything is restarted once and stopped; a gateway whose clock is an hour
ahead lets the holds lapse that the killed ones left; then the ledger is laid beside the bill.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import FrozenClock
from gateway.ledger.audit import audit
from gateway.store.database import Database
from tests.chaos.bill import ChaosProvider
from tests.chaos.callers import Callers
from tests.chaos.processes import GatewayProcess, gateway_process
from tests.chaos.storms import Engine, Storm, engine
from tests.chaos.verdict import Sums, Verdict, judge
from tests.chaos.weather import Weather
from tests.gateways import routes_for, running

CALLERS = 12
_ANSWERS_END_WITHIN_SECONDS = 30.0
_HOLDS_LAPSE_WITHIN_SECONDS = 30.0
_LATER_SECONDS = 3600.0
"""More than any hold may stay open."""
_BUDGETS = """
  all: {scope: organisation, limit: 1000 USD, period: month}
  narrow: {scope: {job: narrow}, limit: 0.02 USD, period: minute}
  runs: {scope: {tag: run}, limit: 1 USD, period: forever}"""
_JOBS = """
  hasty:
    purpose: Stops the provider when its caller leaves.
    owner: data
    targets: [openai/gpt-test, openai/gpt-spare]
    output_tokens: {default: 1000, max: 4000}
    retries: 1
    on_disconnect: cancel
    timeouts: &short {first_byte: 1.5, idle: 1, total: 3}
    tags: [run]
    wait_for_room: 1
  narrow:
    purpose: Has little money and has to wait for it.
    owner: data
    targets: [openai/gpt-spare]
    output_tokens: {default: 1000, max: 4000}
    timeouts: *short
    tags: [run]
    wait_for_room: 1"""


@dataclass(frozen=True, slots=True)
class Report:
    """What one run came to."""

    engine: str
    seconds: float
    weather: Weather
    provider: ChaosProvider
    callers: Callers
    storm: Storm
    verdict: Verdict

    @property
    def offenders(self) -> list[str]:
        """Everything that is not as it should be."""
        return [*self.verdict.offenders, *self.callers.bugs, *self.storm.bad_ends]

    def lines(self) -> Iterator[str]:
        """For people."""
        verdict, provider = self.verdict, self.provider
        yield f"{self.engine}, seed {self.weather.seed}: {self.seconds:.0f} s of storm"
        yield "  storm: " + _listed(self.storm.counts)
        yield f"  callers: {sum(self.callers.told.values()):,} requests: " + _listed(
            self.callers.told
        )
        yield f"  provider: {sum(provider.behaved.values()):,} attempts," + (
            f" {provider.faults:,} faults: " + _listed(provider.behaved)
        )
        yield f"  ledger: {verdict.entries:,} entries, {verdict.lapsed:,} holds lapsed"
        yield _row("quality", "attempts", "bill (nano-dollars)", "ledger")
        total = Sums()
        for quality, sums in sorted(verdict.by_quality.items()):
            yield _row(quality, *_figures(sums))
            total.attempts += sums.attempts
            total.billed += sums.billed
            total.booked += sums.booked
        yield _row("all that is billed", *_figures(total))
        yield _row("not billed", *_figures(verdict.not_billed))
        yield f"  offenders: {len(self.offenders) or 'none'}"
        yield from (f"    {offender}" for offender in self.offenders)


def _figures(sums: Sums) -> tuple[str, str, str]:
    return f"{sums.attempts:,}", f"{sums.billed:,}", f"{sums.booked:,}"


def _row(*cells: str) -> str:
    first, *rest = cells
    return f"    {first:<20}" + "".join(f"{cell:>22}" for cell in rest)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def routes(url: str) -> str:
    """A routes.yaml with short timeouts, in which every request has a tag to be found by."""
    text = routes_for(
        url,
        budgets=_BUDGETS,
        jobs=_JOBS,
        tags="[run]",
        timeouts="{first_byte: 1.5, idle: 1, total: 3}",
        wait_for_room="1",
    )
    return text.replace("    tags: [stage, run, campaign]\n", "")


async def run(engine_name: str, seed: int, seconds: float) -> Report:
    """One run with so many seconds of storm."""
    weather = Weather(seed)
    with tempfile.TemporaryDirectory(prefix="jobgate-chaos-") as name, ExitStack() as stack:
        folder = Path(name)
        database = stack.enter_context(engine(engine_name, folder))
        async with ChaosProvider(weather) as provider:
            text = routes(provider.url)
            gateways, key = await asyncio.to_thread(_start, stack, folder, text, database)
            callers = Callers(gateways, key, weather)
            storm = Storm(gateways, database, weather.chance("storm"))
            began = time.monotonic()
            asking = asyncio.create_task(callers.run(CALLERS))
            await storm.rages(seconds)
            callers.stopping = True
            await asking
            seconds = time.monotonic() - began
            await storm.restart()
            await storm.is_over()
            await provider.until(lambda p: p.open == 0, timeout=_ANSWERS_END_WITHIN_SECONDS)
            findings = await asyncio.to_thread(_audit, database.url)
            if not findings:
                await _lapse(text, database.url)
        assert provider.mistakes == []
        with _opened(database.url) as books:
            verdict = judge(
                books,
                provider.attempts(),
                callers.answered,
                lambda number: weather.wanted(number).repeats,
            )
        verdict.offenders += findings
        return Report(engine_name, seconds, weather, provider, callers, storm, verdict)


def _start(
    stack: ExitStack, folder: Path, text: str, database: Engine
) -> tuple[list[GatewayProcess], str]:
    """The gateways, and a key that each of them knows."""
    gateways: list[GatewayProcess] = []
    key = ""
    for number in range(database.gateways):
        place = folder / f"gateway-{number}"
        place.mkdir()
        one = stack.enter_context(gateway_process(place, text, database.url, forked=True))
        gateways.append(one)
        key = key or one.key()  # before the next one starts, which then knows it
    return gateways, key


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def _audit(url: str) -> list[str]:
    """What the audit finds while holds of the dead are still open."""
    with _opened(url) as database:
        return [f"audit before the lapse: {finding}" for finding in audit(database, "main")[0]]


async def _lapse(text: str, url: str) -> None:
    """Let every hold lapse that is open, by a gateway that lives an hour later."""
    clock = FrozenClock()
    clock.micros = time.time_ns() // 1000
    clock.move(_LATER_SECONDS)
    async with running(text, url, clock=clock) as gateway:
        async with asyncio.timeout(_HOLDS_LAPSE_WITHIN_SECONDS):
            while await asyncio.to_thread(gateway.open_holds):
                await asyncio.sleep(0.05)
