"""Callers: teams, apps and keys from a browser; a secret once; a team's own and no other's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateways import RunningGateway
from tests.stories.front_door import QUESTION, House, a_house
from tests.web.visiting import FORM_TOKEN, Seen, Visitor, a_key, visiting

pytestmark = pytest.mark.anyio

SECRET = re.compile(r"jg_[A-Za-z0-9]{43}")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def platform(house: House) -> AsyncIterator[Visitor]:
    async with visiting(house.gateway, "platform") as visitor:
        yield visitor


def keys_of(gateway: RunningGateway, app: str) -> list[dict[str, Any]]:
    return [key for key in gateway._registry.all() if key["app"] == app]


def secret_in(seen: Seen) -> str:
    (found,) = set(SECRET.findall(seen.text))
    return found


async def asks(gateway: RunningGateway, secret: str, job: str) -> str:
    gateway.gateway._fresh.refresh()
    answer = await gateway.client(secret).chat.completions.create(
        model=job,
        messages=QUESTION,  # type: ignore[arg-type]
    )
    return str(answer.object)


async def test_a_team_an_app_and_a_key_from_nothing_to_the_first_answer(
    house: House, platform: Visitor
) -> None:
    team = await platform.fill_in("/callers", "/callers/teams", name="growth", contact="Ada")
    app = await platform.fill_in("/callers", "/callers/apps", name="mailer", team="growth")
    assert (team.leads_to, app.leads_to) == ("/callers", "/callers/apps/mailer")
    assert "Ada" in (await platform.get("/callers")).text

    form = {"which": "some", "job:extraction": "yes", "budget": "12.50", "period": "day"}
    made = await platform.fill_in("/callers/apps/mailer", "/callers/keys", app="mailer", **form)

    assert made.status == 200
    assert made.headers["cache-control"] == "no-store"
    secret = secret_in(made)
    (key,) = keys_of(house.gateway, "mailer")
    assert (key["jobs"], key["budget_nanos"], key["budget_period"]) == (
        "extraction",
        12_500_000_000,
        "day",
    )
    assert await asks(house.gateway, secret, "extraction") == "chat.completion"
    with pytest.raises(openai.PermissionDeniedError):
        await asks(house.gateway, secret, "volume")
    for place in ("/callers", "/callers/apps/mailer", f"/callers/keys/{key['id']}"):
        assert secret not in (await platform.get(place)).text


async def test_what_an_app_has_spent_is_what_its_entries_come_to(
    house: House, platform: Visitor
) -> None:
    for _ in range(3):
        await house.ask()
    booked = sum(entry["amount_nanos"] for entry in house.gateway.entries())
    assert booked > 0

    seen = await platform.get("/callers")

    rows = [row for rows in seen.page.tables.values() for row in rows if row.name == "site"]
    assert [row.figures for row in rows] == [[1, 3, booked]]


async def test_a_key_is_limited_rotated_and_revoked(house: House, platform: Visitor) -> None:
    secret = house.gateway.key(app="tool")
    (key,) = keys_of(house.gateway, "tool")
    one = f"/callers/keys/{key['id']}"

    changed = await platform.fill_in(
        one,
        f"{one}/change",
        **{"which": "some", "job:volume": "yes", "job:private": "yes", "default_job": "volume"},
        last_day="2099-12-31",
        addresses="127.0.0.0/8, ::1",
    )
    assert changed.leads_to == one
    (now,) = keys_of(house.gateway, "tool")
    assert set(now["jobs"].split()) == {"volume", "private"}
    assert (now["default_job"], now["addresses"]) == ("volume", "127.0.0.0/8 ::1/128")
    assert 'value="2099-12-31"' in (await platform.get(one)).text

    rotated = await platform.fill_in(one, f"{one}/rotate", hours="24")
    fresh = secret_in(rotated)
    assert fresh != secret
    assert await asks(house.gateway, secret, "volume") == "chat.completion"
    assert await asks(house.gateway, fresh, "volume") == "chat.completion"

    revoked = await platform.fill_in(one, f"{one}/revoke")
    assert revoked.leads_to == "/callers/apps/tool"
    with pytest.raises(openai.AuthenticationError):
        await asks(house.gateway, fresh, "volume")
    assert "/revoke" not in (await platform.get(one)).text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"which": "some"}, "tick those"),
        ({"which": "some", "job:nothing": "yes"}, "there is no job"),
        ({"default_job": "nothing"}, "there is no job"),
        ({"budget": "much", "period": "day"}, "budget"),
        ({"budget": "-1", "period": "day"}, "budget"),
        ({"budget": "1", "period": "fortnight"}, "budget"),
        ({"last_day": "soon"}, "name the last day"),
        ({"last_day": "2001-01-01"}, "over already"),
        ({"addresses": "everywhere"}, "address"),
        ({"role": "emperor"}, "role"),
    ],
)
async def test_a_mistake_is_told_beside_the_form_and_no_key_is_made(
    wrong: dict[str, str], told: str, house: House, platform: Visitor
) -> None:
    before = keys_of(house.gateway, "site")

    seen = await platform.fill_in("/callers/apps/site", "/callers/keys", app="site", **wrong)

    assert seen.status in (400, 403)
    assert told in seen.text
    assert keys_of(house.gateway, "site") == before


async def test_a_platform_engineer_gives_no_roles_and_touches_no_admin(
    house: House, platform: Visitor
) -> None:
    admin = next(key for key in house.gateway._registry.all() if key["role"] == "admin")
    one = f"/callers/keys/{admin['id']}"
    given = await platform.fill_in("/callers", "/callers/keys", app="site", role="admin")
    sent = [
        await platform.fill_in("/callers", f"{one}/{act}", hours="0", which="all")
        for act in ("rotate", "change", "revoke")
    ]

    assert [seen.status for seen in (given, *sent)] == [403] * 4
    assert admin in house.gateway._registry.all()
    assert "/rotate" not in (await platform.get(one)).text


async def test_nobody_revokes_the_key_that_they_are_signed_in_with(house: House) -> None:
    key_id, secret = a_key(house.gateway, "admin")
    async with visiting(house.gateway) as visitor:
        await visitor.sign_in(secret)
        one = f"/callers/keys/{key_id}"
        assert (await visitor.fill_in(one, f"{one}/revoke")).status == 403
        assert (await visitor.get(one)).status == 200


async def test_a_role_for_one_team_sees_and_touches_that_team_alone(house: House) -> None:
    house.gateway.key(team="legal", app="clerk")
    (theirs,) = keys_of(house.gateway, "clerk")
    async with visiting(house.gateway, "platform@brand") as visitor:
        listed = await visitor.get("/callers")
        looked = [
            await visitor.get(path)
            for path in ("/callers/apps/clerk", f"/callers/keys/{theirs['id']}")
        ]
        sent = [
            await visitor.fill_in("/callers", path, **form)
            for path, form in (
                ("/callers/apps", {"name": "spy", "team": "legal"}),
                ("/callers/apps/clerk/remove", {}),
                ("/callers/apps/clerk/contact", {"contact": "me"}),
                ("/callers/keys", {"app": "clerk"}),
                (f"/callers/keys/{theirs['id']}/rotate", {"hours": "0"}),
                (f"/callers/keys/{theirs['id']}/change", {"which": "all"}),
                (f"/callers/keys/{theirs['id']}/revoke", {}),
            )
        ]
        own = await visitor.fill_in("/callers", "/callers/keys", app="site")

    assert "clerk" not in listed.text
    assert [seen.status for seen in (*looked, *sent)] == [404] * 9
    assert keys_of(house.gateway, "clerk") == [theirs]
    assert secret_in(own)


async def test_a_team_with_apps_and_an_app_with_keys_stay(house: House, platform: Visitor) -> None:
    app = await platform.fill_in("/callers", "/callers/apps/site/remove")
    team = await platform.fill_in("/callers", "/callers/teams/brand/remove")

    assert (app.status, team.status) == (409, 409)
    assert "revoke them first" in app.text
    assert "remove them first" in team.text


async def test_a_form_without_its_token_makes_nothing(house: House, platform: Visitor) -> None:
    async with visiting(house.gateway, "platform") as other:
        found = FORM_TOKEN.search((await other.get("/callers")).text)
        assert found is not None
        for told in ({}, {"csrf": found[1]}):
            for path, form in (
                ("/callers/teams", {"name": "growth"}),
                ("/callers/keys", {"app": "site"}),
            ):
                assert (await platform.post(path, {**form, **told})).status == 403
    assert len(keys_of(house.gateway, "site")) == 1
    assert "growth" not in (await platform.get("/callers")).text


async def test_who_only_reads_is_shown_no_form(house: House) -> None:
    (key,) = keys_of(house.gateway, "site")
    async with visiting(house.gateway, "finance") as visitor:
        for place in ("/callers", "/callers/apps/site", f"/callers/keys/{key['id']}"):
            seen = await visitor.get(place)
            assert seen.status == 200
            assert 'action="/callers' not in seen.text


async def test_what_to_paste_names_this_gateway_and_a_job_of_it(
    house: House, platform: Visitor
) -> None:
    seen = await platform.get("/callers/apps/site")

    for client in ("openai-python", "openai-node", "curl", "langchain", "anthropic"):
        assert f"paste-{client}" in seen.page.ids
    assert seen.text.count(f"{house.gateway.url}/v1") == 4
    assert "extraction" in seen.text
