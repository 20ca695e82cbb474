"""The pages in a real browser: light, dark and on a telephone, with a keyboard, and by axe-core.

Screenshots are kept in .tools/screenshots, or where JOBGATE_SCREENSHOTS says.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from gateway.app import Gateway
from gateway.cli.history import Plan, company_rules, write_history
from gateway.clock import SystemClock
from gateway.jobs.loading import load
from gateway.settings import Settings
from tests.chromium import a_browser
from tests.gateways import BOOK, SECRETS, RunningGateway, routes_for, running, serving
from tests.treasury.booking import opening
from tests.web.visiting import a_key

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SHOTS = Path(os.environ.get("JOBGATE_SCREENSHOTS", ROOT / ".tools" / "screenshots"))
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text("utf-8")
WIDE, PHONE = (1360, 900), (390, 844)
MONTHS, SCALE = 3, 0.3
TEAM = "synthetic-data"

PAGES = {
    "overview": "/",
    "budgets": "/budgets",
    "budget": "/budgets/one?name=everything",
    "jobs": "/jobs",
    "job": "/jobs/extraction",
    "requests": "/requests",
    "some-requests": "/requests?job=extraction&stage=read",
    "nothing-found": "/requests?team=nobody",
    "reports": "/reports",
    "callers": "/callers",
    "routes": "/routes",
    "missing": "/requests/req_that_is_not_there",
}
BILL = b"date,model,input_tokens,output_tokens,amount_usd\n2026-01-02,gpt-nobody,300,30,0.5\n"
PEOPLE = {"finance": "finance", "platform": "platform", "developer": f"viewer@{TEAM}"}
"""The three kinds of people who look at pages, and their roles."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Looking:
    """A tab of a browser, and what went wrong in it."""

    page: Page
    host: str
    wrong: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note every error of a script, every breach of the policy, every foreign address."""
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._own)

    def _own(self, request: Any) -> None:
        if not request.url.startswith((self.host, "data:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    async def open(self, place: str, *, status: int = 200) -> None:
        """Open a page, and wait until nothing is on its way any more."""
        answer = await self.page.goto(place)
        assert answer is not None
        assert answer.status == status, place
        await expect(self.page.locator(".loading")).to_have_count(0, timeout=60_000)
        await self.page.wait_for_load_state("networkidle")

    async def faults(self) -> list[str]:
        """What axe-core finds that is serious."""
        await self.page.evaluate(AXE)
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    async def shoot(self, name: str) -> None:
        """Keep a screenshot of the whole page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True, timeout=60_000)

    async def other_sections(self) -> dict[str, str]:
        """Sections of the navigation that are not in PAGES, by name."""
        links = self.page.locator("nav[aria-label=Sections] a")
        places = await links.evaluate_all("links => links.map(a => a.getAttribute('href'))")
        return {place.strip("/"): place for place in places if place not in PAGES.values()}

    async def fits(self, width: int) -> None:
        """Wait until charts are drawn anew, and the page need not be scrolled sideways."""
        await expect(self.page.locator("html")).to_have_js_property("scrollWidth", width)
        for plot in await self.page.locator(".chart.drawn .plot").all():
            room = await plot.evaluate("plot => plot.clientWidth")
            await expect(plot.locator(".uplot")).to_have_js_property("offsetWidth", room)


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A synthetic company's books."""
    url = f"sqlite:///{tmp_path_factory.mktemp('books')}/books.db"
    rules = company_rules(load(ROOT / "routes.yaml", book=BOOK, environment=SECRETS), SCALE)
    with opening(url) as database:
        write_history(database, "main", rules, Plan(MONTHS, SystemClock().now(), scale=SCALE))
    settings = Settings(routes=ROOT / "routes.yaml", database_url=url, port=0)
    admin: list[Any] = []
    made = Gateway(settings, rules, BOOK, environment=SECRETS, announce=admin.append)
    async with serving(made, admin) as opened:
        yield opened


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as opened:
        yield opened


@asynccontextmanager
async def looking(
    browser: Browser, gateway: RunningGateway, role: str, **how: Any
) -> AsyncIterator[Looking]:
    """A browser at a gateway, signed in; at the end nothing may have gone wrong."""
    width, height = how.pop("size", WIDE)
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": height},
        base_url=gateway.url,
        reduced_motion="reduce",
        **{"locale": "en-US", **how},
    )
    tab = Looking(await context.new_page(), gateway.url)
    tab.watch()
    await tab.page.goto("/sign-in")
    await tab.page.fill("#key", a_key(gateway, role)[1])
    await tab.page.click("button:text('Sign in')")
    await expect(tab.page.locator("main")).to_be_visible()
    yield tab
    await context.close()
    assert [text for text in tab.wrong if "404" not in text] == []


@pytest.mark.parametrize("person", PEOPLE)
async def test_each_page_can_be_looked_at_by_everybody_who_does(
    person: str, browser: Browser, gateway: RunningGateway
) -> None:
    """By day, by night and on a telephone; axe-core finds no serious fault."""
    async with looking(browser, gateway, PEOPLE[person]) as tab:
        for name, place in {**PAGES, **await tab.other_sections()}.items():
            if person == "developer" and name in ("budget", "nothing-found"):
                continue  # of the organisation, and of another team
            if person != "platform" and name == "routes":
                continue
            await tab.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
            await tab.open(place, status=404 if name == "missing" else 200)
            for scheme in ("light", "dark"):
                await tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                await tab.shoot(f"{person}-{name}-{scheme}")
                assert await tab.faults() == [], (name, scheme)
            await tab.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
            await tab.page.emulate_media(color_scheme="light")
            await tab.fits(PHONE[0])
            await tab.shoot(f"{person}-{name}-phone")
            assert await tab.faults() == [], (name, "phone")


async def test_the_first_page_teaches_while_there_is_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    async with (
        running(routes_for("http://127.0.0.1:9"), url) as empty,
        looking(browser, empty, "admin") as tab,
    ):
        for name, place in {
            "overview": "/",
            "requests": "/requests",
            "budgets": "/budgets",
        }.items():
            await tab.open(place)
            await tab.shoot(f"first-run-{name}")
            assert await tab.faults() == [], name
        await tab.open("/")
        await expect(tab.page.locator("#ask")).to_contain_text(f"{empty.url}/v1/chat/completions")


async def test_a_chart_is_drawn_from_its_table_and_the_forecast_follows(
    browser: Browser, gateway: RunningGateway
) -> None:
    async with looking(browser, gateway, "finance") as tab:
        await tab.open("/")
        await expect(tab.page.locator("#so-far canvas")).to_have_count(1)
        await expect(tab.page.locator("#so-far")).to_contain_text("P10 to P90")
        summary = tab.page.locator("#so-far summary")
        await summary.focus()
        await tab.page.keyboard.press("Enter")
        table = tab.page.locator("#so-far details table")
        await expect(table).to_be_visible()
        heads = await table.locator("thead th").all_text_contents()
        assert heads == ["Day", "Spent", "Budget", "P10", "P50", "P90"]


async def test_light_and_dark_are_changed_by_a_switch_and_kept(
    browser: Browser, gateway: RunningGateway
) -> None:
    async with looking(browser, gateway, "viewer") as tab:
        await tab.open("/jobs")
        root, ground = tab.page.locator("html"), "getComputedStyle(document.body).backgroundColor"
        light = await tab.page.evaluate(ground)
        switch = tab.page.locator("[data-theme-switch]")
        await switch.click()
        await expect(root).to_have_attribute("data-theme", "light")
        await switch.click()
        await expect(root).to_have_attribute("data-theme", "dark")
        assert await tab.page.evaluate(ground) != light
        await tab.open("/budgets")
        await expect(root).to_have_attribute("data-theme", "dark")
        await expect(tab.page.locator("[data-theme-name]")).to_have_text("Dark")


async def test_the_keyboard_alone_is_enough(browser: Browser, gateway: RunningGateway) -> None:
    async with looking(browser, gateway, "finance") as tab:
        await tab.open("/")
        await tab.page.keyboard.press("Tab")
        focused = tab.page.locator(":focus")
        await expect(focused).to_have_text("Skip to the content")
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator("main")).to_be_focused()
        await tab.page.locator("nav a", has_text="Jobs").focus()
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator("h1")).to_have_text("Jobs")
        await expect(tab.page.locator("nav [aria-current=page]")).to_have_text("Jobs")


async def test_a_figure_leads_to_the_entries_behind_it_and_a_request_to_its_decision(
    browser: Browser, gateway: RunningGateway
) -> None:
    async with looking(browser, gateway, "finance") as tab:
        await tab.open("/")
        row = tab.page.locator('table[data-by="job"] tbody tr').first
        spent = await row.locator("data").first.get_attribute("value")
        await row.locator("td.num a").first.click()
        told = tab.page.locator("[data-total] data").nth(1)
        assert await told.get_attribute("value") == spent
        await tab.page.locator("tbody th a").first.click()
        await expect(tab.page.locator("h1")).to_contain_text("Request req_")
        await tab.shoot("finance-decision-light")
        assert await tab.faults() == []


async def test_a_budget_is_raised_in_the_browser(browser: Browser, gateway: RunningGateway) -> None:
    async with looking(browser, gateway, "finance") as tab:
        await tab.open("/budgets/one?name=writing&subject=strategic-narrative")
        await tab.page.fill("[name=amount]", "12.50")
        await tab.page.fill("[name=until]", "2099-12-31")
        await tab.page.fill("form[action='/budgets/raises'] [name=reason]", "the launch")
        await tab.page.click("button:text-is('Raise')")
        await expect(tab.page.locator("[role=status]").first).to_have_text(
            "The budget writing is raised."
        )
        await expect(tab.page.locator("table", has_text="the launch")).to_contain_text("in force")


async def test_the_end_of_a_month_is_walked_in_the_browser(
    browser: Browser, gateway: RunningGateway
) -> None:
    """From the reports to the question that closes a month, and a bill that is compared."""
    async with looking(browser, gateway, "finance") as tab:
        await tab.open("/reports")
        await tab.page.click("text=Close 20")
        await expect(tab.page.locator("h1")).to_contain_text("Close ")
        await _looked_at(tab, "closing")
        await tab.page.click("main button:text('Close 20')")
        assert await tab.page.locator("[name=sure]").evaluate("box => box.matches(':invalid')")
        await tab.open("/reports")
        await tab.page.click("text=Compare a bill")
        bill = {"name": "bill.csv", "mimeType": "text/csv", "buffer": BILL}
        await tab.page.set_input_files("[name=files]", bill)  # type: ignore[arg-type]
        await tab.page.select_option("[name=vendor]", "generic")
        await tab.page.locator("button:text-is('Compare')").focus()
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator("#result")).to_have_text("bill.csv")
        await expect(tab.page.locator("table[data-by=difference]")).to_contain_text("around")
        await _looked_at(tab, "bill")


async def _looked_at(tab: Looking, name: str) -> None:
    for scheme in ("light", "dark"):
        await tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await tab.shoot(f"finance-{name}-{scheme}")
        assert await tab.faults() == [], (name, scheme)
    await tab.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await tab.fits(PHONE[0])
    await tab.shoot(f"finance-{name}-phone")
    assert await tab.faults() == [], name
    await tab.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


async def test_figures_are_written_as_the_reader_writes_them(
    browser: Browser, gateway: RunningGateway
) -> None:
    async with looking(browser, gateway, "finance", locale="de-DE") as tab:
        await tab.open("/requests")
        first = await tab.page.locator("tbody td.num data").last.text_content()
        assert first is not None
        assert first.endswith("\N{NO-BREAK SPACE}$")
        assert "," in first
