"""What watchers see: health, readiness, and metrics that say what the books say."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.callers.callers import hash_secret
from gateway.errors import GatewayError
from gateway.metering.usage import CLASSES
from gateway.metrics import OUTCOMES
from gateway.pipeline.endings import outcome_of
from tests.gateways import SECRETS
from tests.scripted import Script
from tests.stories.front_door import CHAT, House, a_house

pytestmark = pytest.mark.anyio

BUDGETS = """
  whole: {scope: organisation, limit: 100 USD, period: month}
  teams: {scope: each team, limit: 50 USD, period: month}
  stages: {scope: {tag: stage}, limit: 20 USD, period: month}
  keys: {scope: each key, limit: 20 USD, period: month}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path, budgets=BUDGETS) as opened:
        yield opened


# ---- health


async def test_it_is_healthy_and_ready_while_it_serves(house: House) -> None:
    health = await house.send("GET", "/healthz")
    ready = await house.send("GET", "/readyz")

    assert (health.status, health.json) == (200, {"status": "ok"})
    assert (ready.status, ready.json) == (200, {"status": "ready"})


async def test_it_is_alive_but_not_ready_when_it_cannot_take_requests(house: House) -> None:
    house.gateway.gateway._problems.append("stopping")

    health = await house.send("GET", "/healthz")
    ready = await house.send("GET", "/readyz")

    assert health.status == 200
    assert (ready.status, ready.json["problems"]) == (503, ["stopping"])


# ---- the vocabulary of outcomes


def kinds_of(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """Every error that a caller can be told; a family that has no code of its own is not raised."""
    for child in kind.__subclasses__():
        if child.code != GatewayError.code:
            yield child
        yield from kinds_of(child)


@pytest.mark.parametrize("kind", list(kinds_of(GatewayError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_word_in_the_vocabulary(kind: type[GatewayError]) -> None:
    outcome = outcome_of(kind("something"))

    assert outcome in OUTCOMES
    assert outcome != "other"


def test_every_outcome_is_somebodys_fault_and_a_bug_is_other() -> None:
    assert set(OUTCOMES.values()) == {"none", "caller", "policy", "provider", "gateway"}
    assert outcome_of(GatewayError("a bug")) == "other"


# ---- metrics are the books


async def some_traffic(house: House) -> Counter[str]:
    """Requests that end in many ways; how many ended in each."""
    ended: Counter[str] = Counter()

    async def ends(outcome: str, script: Script | None = None, **fields: Any) -> None:
        house.provider.script = script or Script(text="Well then.", input=100, output=7)
        job = fields.pop("job", "extraction")
        await house.ask(job, **fields)
        ended[outcome] += 1

    for job in ("extraction", "narrative", "workspace", "private", "volume"):
        await ends("ok", job=job)
        await ends("ok", job=job, stream=True, metadata={"stage": "draft"})
    await ends("ok", Script(text="Hm.", input=9, cache_read=90, output=20, reasoning=15))
    await ends("ok", Script(text="No figures.", omit_usage=True))
    await ends("provider_refused", Script(status=400))
    await ends("provider_broken", Script(status=500))
    await ends("provider_busy", Script(status=429), job="narrative")
    await ends("provider_broken", Script(hang_up=True), job="volume")
    await ends("bad_request", n=0)
    await ends("bad_request", messages=[])
    await ends("unknown_job", job="nothing")
    await ends("unpriced", job="unpriced")
    await ends("too_large", messages=[{"role": "user", "content": "word " * 150_000}])
    await house.send("POST", CHAT, data=b"{}")
    ended["not_authenticated"] += 1
    await house.send("POST", CHAT, key=house.gateway.key(role="admin"), data=asked("extraction"))
    ended["forbidden"] += 1
    return ended


def asked(job: str) -> bytes:
    return f'{{"model":"{job}","messages":[{{"role":"user","content":"Hi"}}]}}'.encode()


async def metrics_of(house: House) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name, then by the values of their labels in the order of the labels' names."""
    told = await house.send("GET", "/metrics")
    assert told.status == 200
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(told.raw.decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


async def test_at_rest_the_metrics_are_the_ledger(house: House) -> None:
    ended = await some_traffic(house)
    entries = house.gateway.entries()
    metrics = await metrics_of(house)

    spend: Counter[tuple[str, ...]] = Counter()
    tokens: Counter[tuple[str, ...]] = Counter()
    attempts: Counter[tuple[str, ...]] = Counter()
    for entry in entries:
        spend[entry["job"], entry["quality"], entry["target"]] += entry["amount_nanos"]
        attempts[entry["outcome"], entry["target"]] += 1
        for name in CLASSES:
            tokens[entry["job"], entry["target"], name] += entry[name]
    requests: Counter[str] = Counter()
    for (_job, outcome, _target, fault), count in _relabelled(metrics).items():
        assert OUTCOMES[outcome] == fault
        requests[outcome] += int(count)

    assert metrics["jobgate_spend_nanodollars_total"] == +spend
    assert metrics["jobgate_tokens_total"] == +tokens
    assert metrics["jobgate_upstream_attempts_total"] == attempts
    assert requests == ended
    assert metrics["jobgate_holds_open"] == {(): 0}
    assert metrics["jobgate_holds_waiting"] == {(): 0}
    assert metrics["jobgate_committer_queue"] == {(): 0}
    assert metrics["jobgate_authentication_failures_total"] == {(): 1}
    assert {quality for _, quality, _ in spend} >= {"reported", "counted"}


def _relabelled(
    metrics: dict[str, dict[tuple[str, ...], float]],
) -> dict[tuple[str, str, str, str], float]:
    """Requests by job, outcome, target and fault (labels come sorted by name)."""
    samples = metrics["jobgate_requests_total"].items()
    return {(job, outcome, target, fault): n for (fault, job, outcome, target), n in samples}


async def test_the_gauges_of_budgets_are_the_balances(house: House) -> None:
    await some_traffic(house)

    metrics, balances = await metrics_of(house), house.gateway.balances()

    for name, column in (("limit", "limit_value"), ("spent", "spent"), ("held", "held")):
        told = {
            (labels[0], labels[2]): v for labels, v in metrics[f"jobgate_budget_{name}"].items()
        }
        assert told == {
            place: balances[place][column] for place in (("whole", ""), ("teams", "brand"))
        }
    assert balances["whole", ""]["spent"] > 0


# ---- what may never be seen

PROMPT, ANSWER, TAG = "canary-in-a-prompt", "canary-in-an-answer", "canary-in-a-tag"


async def test_secrets_prompts_and_tags_stay_where_they_belong(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    messages = [{"role": "user", "content": PROMPT}]
    leaking = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}"
    errors = []
    for script in (
        Script(text=ANSWER, omit_usage=True),
        Script(status=401, error=leaking),
        Script(status=500, error=leaking),
        Script(body=f'{{"choices": [{{"{ANSWER}"'),
        Script(text=ANSWER * 9, truncate_json=True, cut_after_chunk=1),
        Script(text=f"{ANSWER} {ANSWER}", garbage_after=1),
        Script(text=f"{ANSWER} {ANSWER}", cut_after_chunk=1),
        Script(hang_up=True),
    ):
        for job in ("extraction", "narrative", "workspace"):
            for stream in (False, True):
                # a good answer first, so that failures do not add up and open a breaker
                house.provider.scripts(Script(text=ANSWER, input=10, output=2), script)
                await house.ask(job, messages=messages)
                told = await house.ask(
                    job, messages=messages, stream=stream, metadata={"stage": TAG}
                )
                if told.status != 200:
                    errors.append(told.raw.decode())
    assert len(house.provider.requests) == 2 * 2 * 3 * 8
    for wrong in ({"n": 0}, {"max_tokens": PROMPT}, {"messages": PROMPT}, {"n": PROMPT}):
        told = await house.ask("narrative", **{"messages": messages, **wrong})
        errors.append(told.raw.decode())
        assert told.status == 400

    shown = (await house.send("GET", "/metrics")).raw.decode()
    key_ids = {entry["key_id"] for entry in house.gateway.entries()}
    database = house.gateway.gateway.database.file
    assert database is not None
    on_disk = b"".join(file.read_bytes() for file in database.parent.iterdir() if file.is_file())

    secrets = [*SECRETS.values(), house.key, house.gateway.admin_key]
    assert errors
    for secret in secrets:
        for place in (caplog.text, shown, "".join(errors)):
            assert secret not in place
        assert secret.encode() not in on_disk
    for place in (caplog.text, shown):
        for content in (PROMPT, ANSWER, TAG):
            assert content not in place
    assert PROMPT not in "".join(errors)
    for content in (PROMPT, ANSWER):
        assert content.encode() not in on_disk
    assert TAG.encode() in on_disk  # tags are what the books are for
    for hidden in (*key_ids, hash_secret(house.key)):
        assert hidden not in shown
