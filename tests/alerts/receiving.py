"""Where alerts arrive in tests: a real web server and a real mail server, both on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP


@dataclass
class Inbox:
    """What a webhook has been sent; `status` is what it answers from now on."""

    url: str = ""
    status: int = 200
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies, oldest first."""
        return [json.loads(body) for _, body in self.posts]

    @property
    def titles(self) -> list[str]:
        """What it was told, in a line each."""
        return [body["title"] for body in self.bodies]

    async def take(self, request: web.Request) -> web.Response:
        """Keep what comes in."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append((headers, await request.read()))
        self.arrived.set()
        location = {"Location": self.url} if self.status == 302 else {}
        return web.Response(status=self.status, headers=location)


@asynccontextmanager
async def an_inbox() -> AsyncIterator[Inbox]:
    """A webhook receiver that is there until the block ends."""
    inbox = Inbox()
    app = web.Application()
    app.router.add_post("/hook", inbox.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]
    inbox.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield inbox
    finally:
        await runner.cleanup()


class Mailbox:
    """A mail server's handler that keeps messages; `refuses` are addresses it does not take."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refuses: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Take a recipient, or not."""
        if address in self.refuses:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - likewise
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        """Take a message."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"


@asynccontextmanager
async def a_mailbox() -> AsyncIterator[Mailbox]:
    """A mail server that is there until the block ends."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="127.0.0.1", loop=loop), "127.0.0.1", 0
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()
