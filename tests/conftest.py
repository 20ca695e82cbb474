"""What every test can ask for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import settings

from tests.postgres import postgres_server, postgres_url
from tests.scripted import ScriptedProvider

__all__ = ["postgres_server", "postgres_url"]

settings.register_profile("any machine", deadline=None)  # how long an example takes is no law
settings.load_profile("any machine")
os.environ["COLUMNS"] = "200"  # what the command line prints is as wide wherever tests run


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    """A scripted provider; at the end no script of it may have been a mistake."""
    async with ScriptedProvider() as scripted:
        yield scripted
    assert scripted.mistakes == []


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite database."""
    return f"sqlite:///{tmp_path}/books.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database on each engine in turn: for tests that move money."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url
