"""More money for a budget until a day: in force within a second, and over by itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from gateway.callers.changes import By
from gateway.cli.commands import app
from gateway.clock import MICROS, FrozenClock
from gateway.jobs.loading import parse
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import RaiseBook
from gateway.treasury.standing import Standings
from tests.gateways import BOOK, SECRETS, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
FIN = By("fin", "finance", "tests")
CENT = 10_000_000
SMALL = """
  small: {scope: each team, limit: 0.01 USD, period: month}"""
ANSWER = Script(text="Two words", input=100, output=20)
"""Costs 450,000 nano-dollars; its ceiling of 1,000 output tokens is above a cent."""


async def ask(gateway: RunningGateway, key: str, **more: Any) -> int:
    """The status of a request whose ceiling does not fit a cent, and does fit two."""
    try:
        await gateway.client(key).chat.completions.create(
            model="extraction", messages=QUESTION, max_tokens=1000, **more
        )
    except openai.APIStatusError as error:
        return error.status_code
    return 200


def raises_of(gateway: RunningGateway) -> RaiseBook:
    """The raises, as somebody beside the gateway grants them."""
    inside = gateway.gateway
    return RaiseBook(inside.database, inside.settings.org, inside.clock)


async def noticed(gateway: RunningGateway, known: int) -> None:
    """Wait until the gateway knows so many rows about the budget for the team."""
    book = gateway.gateway._raises
    async with asyncio.timeout(1.0):
        while len(book.known.for_subject("small", "brand")) < known:
            await asyncio.sleep(0.01)


async def test_a_raise_is_in_force_within_a_second_and_over_by_itself(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    async with running(
        routes_for(provider.url, budgets=SMALL), database_url, clock=clock
    ) as gateway:
        key = gateway.key()
        assert await ask(gateway, key) == 402
        raises_of(gateway).grant(
            "small", "", CENT, until=clock.now() + 3600 * MICROS, reason="a launch", by=FIN
        )
        await noticed(gateway, 1)
        assert await ask(gateway, key) == 200
        assert gateway.balances()["small", "brand"]["limit_value"] == 2 * CENT
        clock.move(3599)
        assert await ask(gateway, key) == 200
        clock.move(1)
        assert await ask(gateway, key) == 402
        (kept,) = raises_of(gateway).all()
    assert (kept.reason, kept.author, kept.amount) == ("a launch", "fin", CENT)


async def test_a_raise_for_one_team_is_not_for_another(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    async with running(
        routes_for(provider.url, budgets=SMALL), database_url, clock=clock
    ) as gateway:
        brand, legal = gateway.key(), gateway.key(team="legal", app="contracts")
        until = clock.now() + 3600 * MICROS
        raises_of(gateway).grant("small", "brand", CENT, until=until, reason="why", by=FIN)
        await noticed(gateway, 1)
        assert [await ask(gateway, brand), await ask(gateway, legal)] == [200, 402]


async def test_a_raise_can_be_withdrawn_and_both_stay_in_the_books(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    async with running(
        routes_for(provider.url, budgets=SMALL), database_url, clock=clock
    ) as gateway:
        key, book = gateway.key(), raises_of(gateway)
        until = clock.now() + 3600 * MICROS
        granted = book.grant("small", "", CENT, until=until, reason="a launch", by=FIN)
        await noticed(gateway, 1)
        assert await ask(gateway, key) == 200
        clock.move(60)
        book.withdraw(granted.id, reason="the launch is off", by=By("cfo", "", "tests"))
        await noticed(gateway, 2)
        assert await ask(gateway, key) == 402
        said = [(row.amount, row.reason, row.author, row.withdraws) for row in book.all()]
    assert said == [
        (CENT, "a launch", "fin", ""),
        (-CENT, "the launch is off", "cfo", granted.id),
    ]


async def test_how_budgets_stand_says_limit_spent_left_and_raises(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    text = routes_for(provider.url, budgets=SMALL)
    rules = parse(text, "routes.yaml", BOOK, SECRETS)
    async with running(text, database_url, clock=clock) as gateway:
        book = raises_of(gateway)
        until = clock.now() + 3600 * MICROS
        granted = book.grant("small", "brand", CENT, until=until, reason="why", by=FIN)
        await noticed(gateway, 1)
        assert await ask(gateway, gateway.key()) == 200
        book.refresh()
        standings = Standings(
            gateway.gateway.database, "main", rules.budgets, Calendar(rules.time_zone)
        )
        (during,) = standings.at(clock.now(), book.known)
        (after,) = standings.at(until, book.known)
    assert (during.limit, during.raised, during.spent, during.held) == (2 * CENT, CENT, 450_000, 0)
    assert during.left == 2 * CENT - 450_000
    assert during.raises == (granted,)
    assert (after.limit, after.left, after.raises) == (CENT, CENT - 450_000, ())


# ---- the command line


@pytest.mark.parametrize("prefix", ["", "key "])
async def test_a_keys_own_budget_is_raised_by_its_id(
    prefix: str, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.script = ANSWER
    text = routes_for(provider.url)
    (tmp_path / "routes.yaml").write_text(text)
    async with running(text, f"sqlite:///{tmp_path}/books.db") as gateway:
        key = gateway.key(budget_nanos=CENT, budget_period="month")
        (key_id,) = (k["id"] for k in gateway._registry.all() if k["budget_nanos"])
        assert await ask(gateway, key) == 402
        words = ("raise", prefix + key_id, "--by=0.02", "--until=2999-11-30", "--reason=why")
        status, said = await asyncio.to_thread(jobgate, tmp_path, *words, "--author=fin")
        assert status == 0, said
        async with asyncio.timeout(2.0):
            while not gateway.gateway._raises.known:
                await asyncio.sleep(0.01)
        assert await ask(gateway, key) == 200
        found = await asyncio.to_thread(jobgate, tmp_path, "raises")
        assert "$0.02" in found[1], "a key's own budget is in dollars"
        other = await asyncio.to_thread(jobgate, tmp_path, "raise", "key_none", *words[2:])
    assert other[0] == 2
    assert "there is no budget 'key_none'" in other[1]


def jobgate(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command on the books in a folder; its exit status and what it said."""
    environment = {
        **SECRETS,
        "JOBGATE_ROUTES": str(folder / "routes.yaml"),
        "JOBGATE_DATABASE_URL": f"sqlite:///{folder}/books.db",
    }
    found = CliRunner().invoke(app, ["budgets", *words], env=environment)
    return found.exit_code, found.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A routes.yaml with a budget for each team."""
    (tmp_path / "routes.yaml").write_text(routes_for("http://127.0.0.1:9", budgets=SMALL))
    return tmp_path


async def test_the_command_grants_lists_and_withdraws(folder: Path) -> None:
    granted = ("raise", "small", "--subject", "brand", "--by", "100", "--until", "2999-11-30")
    status, said = jobgate(folder, *granted, "--reason", "a launch", "--author", "fin")
    assert status == 0
    raise_id = said.partition(":")[0]
    (row,) = json.loads(jobgate(folder, "raises", "--json")[1])
    assert (row["id"], row["amount"], row["author"]) == (raise_id, 100 * 100 * CENT, "fin")
    assert row["until"] == "2999-11-30T23:00:00+00:00", "the end of the day in Berlin"
    assert jobgate(folder, "withdraw", raise_id, "--reason", "off", "--author", "cfo")[0] == 0
    assert jobgate(folder, "withdraw", raise_id, "--reason", "off", "--author", "cfo")[0] == 2
    assert len(json.loads(jobgate(folder, "raises", "--json")[1])) == 2
    (standing,) = json.loads(jobgate(folder, "list", "--json")[1])
    assert (standing["budget"], standing["limit"], standing["raises"]) == ("small", CENT, [])
    assert "small" in jobgate(folder, "list")[1]
    assert "a launch" in jobgate(folder, "raises")[1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"NAME": "smal"}, "did you mean"),
        ({"--by": "much"}, "US dollars"),
        ({"--by": "0"}, "more than nothing"),
        ({"--by": "-1"}, "more than nothing"),
        ({"--until": "soon"}, "is not a day"),
        ({"--until": "2020-01-01"}, "in the future"),
        ({"--reason": " "}, "say why"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_sentence(
    folder: Path, change: dict[str, str], problem: str
) -> None:
    words = {"NAME": "small", "--by": "1", "--until": "2999-11-30", "--reason": "why"} | change
    name = words.pop("NAME")
    options = [f"{option}={value}" for option, value in words.items()]
    status, said = jobgate(folder, "raise", name, *options)
    assert (status, problem in said) == (2, True), said
    assert jobgate(folder, "raises", "--json") == (0, "[]\n")
