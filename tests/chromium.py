"""Where a headless Chromium is, for the tests that look at the pages with one.

JOBGATE_CHROMIUM names the program, else it is looked for on PATH; `tests/tools/fetch_chromium.sh
DIR` gets one. Where it is missing, the tests that need it fail in CI; elsewhere they are not
collected, and a line says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

MISSING = (
    "chromium is missing: no page is looked at in a browser "
    "(tests/tools/fetch_chromium.sh DIR, then JOBGATE_CHROMIUM=DIR/chromium)"
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def chromium() -> Path | None:
    """The program, or None when there is none."""
    named = os.environ.get("JOBGATE_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    return Path(found) if found else None


def is_left_out() -> bool:
    """Whether tests that need it are not collected: it is missing, and this is not CI."""
    return chromium() is None and not os.environ.get("CI")


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    """A running browser; its libraries may lie beside it."""
    program = chromium()
    assert program is not None, MISSING
    environment: dict[str, str | float | bool] = {**os.environ}
    environment["LD_LIBRARY_PATH"] = str(program.parent / "lib")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            args=list(_ARGUMENTS),
            env=environment,
        )
        yield browser
        await browser.close()
