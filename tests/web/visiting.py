"""Somebody with a browser, without the browser: cookies, forms, and what stands on a page."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import aiohttp

from gateway.callers.registry import NewKey, Registry
from tests.gateways import TESTER, RunningGateway

FORM_TOKEN = re.compile(r'name="csrf" value="(\w+)"')
SESSION = "jobgate_session"


@dataclass
class Row:
    """A row of a table: what its cells say, and their exact figures."""

    cells: list[str] = field(default_factory=list)
    figures: list[int] = field(default_factory=list)
    is_sum: bool = False
    """Whether it stands at the foot of the table."""

    @property
    def name(self) -> str:
        """What the first cell says."""
        return self.cells[0]


class Read(HTMLParser):
    """A page as a test reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tables: dict[str, list[Row]] = {}
        """Rows of the bodies of tables, by the tables' captions."""
        self.by: dict[str, list[Row]] = {}
        """The same, by what the table is by (`data-by`)."""
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.figures: list[int] = []
        """Every exact figure of the page, in order."""
        self._rows: list[Row] = []
        self._caption: str | None = None
        self._by: str | None = None
        self._in_body = self._at_foot = False
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        has = dict(attrs)
        if has.get("id"):
            self.ids.add(str(has["id"]))
        if tag == "table":
            self._rows, self._caption, self._by = [], "", has.get("data-by")
        elif tag == "caption":
            self._cell = []
        elif tag in ("tbody", "tfoot"):
            self._in_body, self._at_foot = True, tag == "tfoot"
        elif tag == "tr" and self._in_body:
            self._rows.append(Row(is_sum=self._at_foot))
        elif tag in ("td", "th") and self._in_body:
            self._cell = []
        elif tag == "a":
            self.links.append(str(has.get("href")))
        elif tag == "data":
            self.figures.append(int(str(has["value"])))
            if self._in_body and self._rows:
                self._rows[-1].figures.append(self.figures[-1])

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if tag == "caption" and self._cell is not None:
            self._caption = " ".join("".join(self._cell).split())
            self._cell = None
        elif tag in ("td", "th") and self._cell is not None and self._in_body:
            self._rows[-1].cells.append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag == "table":
            self.tables[self._caption or ""] = self._rows
            if self._by is not None:
                self.by[self._by] = self._rows
            self._in_body, self._rows = False, []

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        if self._cell is not None:
            self._cell.append(data)

    def amounts(self, caption: str, place: int = 0) -> dict[str, int]:
        """The first figure (or another) of each row of a table, by what its first cell says."""
        return {row.name: row.figures[place] for row in self.tables[caption] if row.figures}


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer of a page."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        """The page."""
        return self.body.decode()

    @property
    def page(self) -> Read:
        """The page, read."""
        return Read(self.text)

    def rows(self, by: str) -> dict[str, list[int]]:
        """The exact figures of each row of a table, by what its first cell says."""
        return {row.name: row.figures for row in self.page.by[by] if row.figures and not row.is_sum}

    @property
    def leads_to(self) -> str:
        """Where it sends the browser."""
        return str(self.headers.get("location", ""))


class Visitor:
    """One browser at one gateway."""

    def __init__(self, gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
        self.gateway, self.http = gateway, http

    async def get(self, path: str, **headers: str) -> Seen:
        """Look at a page, without going where it leads."""
        return await self._send("GET", path, None, headers)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Seen:
        """Send a form as it is given."""
        return await self._send("POST", path, fields, headers)

    async def fill_in(self, at: str, path: str, **fields: str) -> Seen:
        """Send a form of the page `at`, with the token that stands there."""
        found = FORM_TOKEN.search((await self.get(at)).text)
        assert found is not None
        return await self.post(path, {"csrf": found[1], **fields})

    async def send_files(self, at: str, path: str, files: dict[str, bytes], **fields: str) -> Seen:
        """Send a form with files, with the token that stands on the page `at`."""
        found = FORM_TOKEN.search((await self.get(at)).text)
        assert found is not None
        form = aiohttp.FormData({"csrf": found[1], **fields}, default_to_multipart=True)
        for name, content in files.items():
            form.add_field("files", io.BytesIO(content), filename=name)
        return await self._send("POST", path, form, {})

    async def sign_in(self, key: str, place: str = "/") -> Seen:
        """Sign in with a key."""
        return await self.fill_in("/sign-in", "/sign-in", key=key, next=place)

    @property
    def token(self) -> str:
        """The session that the browser keeps; empty without one."""
        return next((c.value for c in self.http.cookie_jar if c.key == SESSION), "")

    def keep(self, token: str) -> None:
        """Let the browser keep a session that somebody chose."""
        self.http.cookie_jar.update_cookies({SESSION: token}, response_url=_url(self.gateway))

    async def _send(
        self,
        method: str,
        path: str,
        fields: dict[str, str] | aiohttp.FormData | None,
        headers: dict[str, str],
    ) -> Seen:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(
            method, self.gateway.url + path, data=fields, headers=named, allow_redirects=False
        ) as answer:
            return Seen(answer.status, answer.headers, await answer.read())


def _url(gateway: RunningGateway) -> Any:
    return aiohttp.client.URL(gateway.url)


@asynccontextmanager
async def visiting(gateway: RunningGateway, role: str = "") -> AsyncIterator[Visitor]:
    """A browser; signed in with a new key of that role, if one is named."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        visitor = Visitor(gateway, http)
        if role:
            seen = await visitor.sign_in(a_key(gateway, role)[1])
            assert seen.status == 303, seen.text
        yield visitor


def a_key(gateway: RunningGateway, role: str, **more: Any) -> tuple[str, str]:
    """The id and the secret of a new key; its team is that of its role, if it has one."""
    inside = gateway.gateway
    registry = Registry(inside.database, inside.settings.org, inside.clock)
    team = role.partition("@")[2] or "platform"
    new = NewKey(team=team, app=f"people-of-{team}", role=role, **more)
    made = registry.create(new, TESTER)
    inside._fresh.refresh()
    return made
