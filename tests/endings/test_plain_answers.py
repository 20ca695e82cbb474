"""A plain answer that is begun and goes wrong, or is whole and odd: what is told, what is booked.

The provider has done its work by then. What cannot be read is presumed to have cost the ceiling;
what can be read and tells no usage is counted; what tells usage is booked to the nano.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from tests.endings.bills import check_entry, money, only_entry, said
from tests.endings.callers import JOBS, all_is_well, calling
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

TEXT = "one two three"
UNREADABLE = {
    "a page of HTML": Script(text=TEXT, body="<html>Bad gateway</html>"),
    "nothing at all": Script(text=TEXT, body=""),
    "JSON that is no object": Script(text=TEXT, body='["one", "two"]'),
    "an object that is no answer": Script(text=TEXT, body='{"hello": 1}'),
    "half of the JSON": Script(text=TEXT, truncate_json=True),
    "a reset before the body": Script(text=TEXT, cut_bytes=0, cut_mode="reset"),
    "a reset within the body": Script(text=TEXT, cut_bytes=40, cut_mode="reset"),
    "a body that is too short": Script(text=TEXT, cut_bytes=40, cut_mode="eof"),
    "a short body that says so": Script(text=TEXT, cut_bytes=40, cut_mode="end"),
    "half of a compressed body": Script(text=TEXT, gzip=True, cut_bytes=40, cut_mode="end"),
}
READABLE = {
    "the ordinary answer": (Script(text=TEXT), "reported"),
    "a compressed answer": (Script(text=TEXT, gzip=True), "reported"),
    "an answer cut short by its limit": (Script(text=TEXT, finish="length"), "reported"),
    "no usage": (Script(text=TEXT, omit_usage=True), "counted"),
    "usage without numbers": (Script(text=TEXT, wire_usage={"queued": True}), "counted"),
}
ODD_CHOICES = ["5", '"one"', "{}", "[5]", "[null]", '[{"message": 5}]']


async def test_what_cannot_be_read_is_an_error_and_presumed_to_cost_the_ceiling(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        for what, script in UNREADABLE.items():
            await all_is_well(gateway, provider)
            provider.script = script
            for job in JOBS:
                heard = await caller.ask(job)
                entry = only_entry(gateway, heard.request_id)
                check_entry(entry, money(provider.bill[-1:]))
                assert (heard.status, heard.error["code"]) == (502, "upstream_failed"), what
                assert said(entry) == ("provider_broken", "presumed"), what
            assert len(provider.bill) == len(JOBS), what


async def test_what_can_be_read_is_an_answer_and_booked_as_well_as_it_is_known(
    provider: ScriptedProvider, database_url: str
) -> None:
    async with (
        running(routes_for(provider.url), database_url) as gateway,
        calling(gateway) as caller,
    ):
        for what, (script, quality) in READABLE.items():
            provider.script = script
            for job in JOBS:
                heard = await caller.ask(job)
                entry = only_entry(gateway, heard.request_id)
                check_entry(entry, money(provider.bill[-1:]))
                assert (heard.status, heard.text) == (200, TEXT), what
                assert said(entry) == ("ok", quality), what


async def test_choices_in_no_known_shape_leave_no_hold_behind(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        for choices in ODD_CHOICES:
            provider.script = Script(text="", body=f'{{"choices": {choices}}}')
            heard = await caller.ask("extraction")
            entry = only_entry(gateway, heard.request_id)
            check_entry(entry, money(provider.bill[-1:]))
            assert (heard.status, *said(entry)) == (200, "ok", "counted")


async def test_usage_of_zero_is_a_figure_and_not_a_gap(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text=TEXT, input=0, output=0)
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        entry = only_entry(gateway, (await caller.ask("extraction")).request_id)
    assert (*said(entry), entry["amount_nanos"]) == ("ok", "reported", 0)


@pytest.fixture
async def trickling() -> AsyncIterator[str]:
    """A provider that sends its head after a tenth of a second and its body never."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asyncio.get_running_loop().call_later(0.1, writer.write, head)
        await reader.read()  # until the gateway has had enough
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_time_for_the_head_is_part_of_the_time_for_the_whole(
    trickling: str, sqlite_url: str
) -> None:
    routes = routes_for(trickling, timeouts="{total: 0.4}")
    async with running(routes, sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("extraction")
        entry = only_entry(gateway, heard.request_id)
        check_entry(entry, 0)
    waited = re.search(r"waited ([\d.]+) s for the rest", heard.error["message"])
    assert waited is not None
    assert float(waited[1]) < 0.4
    assert (heard.status, *said(entry)) == (504, "provider_timed_out", "presumed")
