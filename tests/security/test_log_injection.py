"""What is written down: nobody writes a line of the log, and no word of a request gets into it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.routing import Route

from gateway.cli.log_lines import LogLines
from tests.doors.office import Desk
from tests.gateways import SECRETS
from tests.scripted import Script
from tests.security.wire import say
from tests.stories.front_door import QUESTION, House

pytestmark = pytest.mark.anyio

FORGED = "2026-01-01 00:00:00,000 CRITICAL gateway.treasury: all money is gone"
IN_LOG = f"x\n{FORGED}\r\n{FORGED}\x1b]0;owned\x07\x1b[2K\x85{FORGED}\u2028{FORGED}\x08\x7f"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Every line of the log, as `jobgate serve` writes it at its most talkative."""
    lines = io.StringIO()
    handler, root = logging.StreamHandler(lines), logging.getLogger()
    handler.setFormatter(LogLines())
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


async def test_nobody_writes_a_line_of_the_log(house: House, log: io.StringIO) -> None:
    house.provider.scripts(
        Script(status=500, error=IN_LOG),
        Script(error_event_after=0, error=IN_LOG),
        Script(text=IN_LOG, garbage_after=0),
        Script(status=400, body=IN_LOG),
    )
    for stream in (False, True, True, False):
        await house.ask(stream=stream)
    await house.post({"model": IN_LOG, "messages": QUESTION, IN_LOG: IN_LOG})
    desk = Desk(house, house.gateway.admin_key)
    await desk.ask("POST", "/routes/reload", {"reason": IN_LOG})
    await desk.ask("POST", "/teams", {"name": IN_LOG})
    await desk.ask("GET", "/teams/" + quote(IN_LOG, safe=""))
    await say(house.gateway.url, b"GET / HTTP/1.1\r\nHost: a\n" + FORGED.encode() + b"\r\n\r\n")
    logging.getLogger("gateway").error("somebody said %s", IN_LOG)

    lines = log.getvalue().split("\n")
    assert "somebody said" in log.getvalue()
    assert [line for line in lines if line.startswith(FORGED[:10])] == []
    assert all(line.isprintable() for line in lines)


async def test_a_bug_is_logged_without_a_word_of_the_request(
    house: House, log: io.StringIO
) -> None:
    canary, key = "CANARY-PROMPT", SECRETS["OPENAI_API_KEY"]

    async def broken(request: Request) -> None:
        raise RuntimeError(f"{(await request.body()).decode()} {key}") from ValueError(canary)

    house.gateway.gateway.app.router.routes.insert(0, Route("/broken", broken, methods=["POST"]))
    told = await house.send("POST", "/broken", data=canary.encode())
    del house.gateway.gateway.app.router.routes[0]

    assert (told.status, told.error["code"]) == (500, "internal_error")
    assert canary not in told.raw.decode()
    assert "RuntimeError" in log.getvalue()
    assert "test_log_injection.py" in log.getvalue()
    assert canary not in log.getvalue()
    assert key not in log.getvalue()
