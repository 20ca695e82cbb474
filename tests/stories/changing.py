"""A gateway that follows a routes.yaml on disk, and somebody who edits it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from gateway.app import FirstKey, Gateway
from gateway.jobs.files import Files
from gateway.jobs.loading import load_files
from gateway.jobs.routes import Routes
from gateway.prices.book import PriceBook
from gateway.settings import Settings
from tests.gateways import BOOK, SECRETS, RunningGateway, serving

LOOK_SECONDS = 0.02


def rules_of(files: Files) -> tuple[Routes, PriceBook]:
    return load_files(files, book=BOOK, environment=SECRETS), BOOK


@dataclass(frozen=True)
class Followed:
    """A running gateway and the folder that it follows."""

    running: RunningGateway
    folder: Path

    @property
    def gateway(self) -> Gateway:
        return self.running.gateway

    def write(self, text: str, name: str = "routes.yaml") -> None:
        """Write a file as an editor does: beside its place, then into it."""
        place = self.folder / name
        place.parent.mkdir(exist_ok=True)
        beside = place.with_name(f".{place.name}~")
        beside.write_text(text)
        beside.replace(place)

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait until the condition holds. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(LOOK_SECONDS)

    async def takes(self, text: str) -> None:
        """Write routes.yaml and wait until it is live."""
        self.write(text)
        await self.until(lambda: self.gateway.routes.text == text)

    async def rejects(self, text: str, name: str = "routes.yaml") -> None:
        """Write a file and wait until it is rejected."""
        before = self.running.metric("jobgate_configuration_rejected_total")
        self.write(text, name)
        await self.until(
            lambda: self.running.metric("jobgate_configuration_rejected_total") > before
        )

    async def call(self, method: str, path: str, **fields: Any) -> tuple[int, Any]:
        """Status and body of an admin call with the first admin key."""
        headers = {"Authorization": f"Bearer {self.running.admin_key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, self.running.url + path, **fields) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def following(
    folder: Path,
    text: str,
    database_url: str,
    *,
    look_seconds: float = LOOK_SECONDS,
    **files: str,
) -> AsyncIterator[Followed]:
    """Serve the routes.yaml that is written into `folder`, and follow it; `files` stand beside it
    (their names with __ for a slash and _yaml for the end)."""
    folder.mkdir(exist_ok=True)
    path = folder / "routes.yaml"
    path.write_text(text)
    for name, content in files.items():
        place = folder / name.replace("__", "/").replace("_yaml", ".yaml").replace("_md", ".md")
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
    rules, book = rules_of(Files.at(path))
    admin: list[FirstKey] = []
    gateway = Gateway(
        Settings(routes=path, database_url=database_url, port=0),
        rules,
        book,
        environment=SECRETS,
        announce=admin.append,
    )
    gateway.follow(rules_of, look_seconds)
    async with serving(gateway, admin) as running:
        yield Followed(running, folder)
