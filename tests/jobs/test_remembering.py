"""What is remembered of parameters is what would have been worked out."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.jobs.capabilities import rules_for
from gateway.jobs.forms import CHAT
from gateway.jobs.native_parameters import APPLY
from gateway.jobs.parameters import Effective
from gateway.jobs.remembering import REMEMBERED_AT_MOST, Parameters
from gateway.jobs.routes import Job, Target
from tests.jobs.samples import SMALL, body, loaded

JOBS = loaded(SMALL).jobs
TALKATIVE = replace(JOBS["extraction"], name="talkative", system="Be kind.")
PLAIN = JOBS["extraction"].targets[0]
TARGETS = [PLAIN] + [
    replace(PLAIN, name=f"openai/{model}", model=model, rules=rules_for("openai", model))
    for model in ("gpt-5.6", "o3")
]
VALUES = st.sampled_from(("null", "1", "0.5", "7", '"high"', "[]", '[{"role": "user"}]', '{"a":1}'))
BODIES = st.dictionaries(
    st.sampled_from(("messages", "temperature", "max_tokens", "n", "top_p", "tools", "seed")),
    VALUES,
    max_size=4,
)


def worked_out(job: Job, target: Target, asked: dict[str, msgspec.Raw]) -> Effective | str:
    try:
        return APPLY[CHAT](job, target, asked)
    except BadRequest as error:
        return error.message


@given(
    st.lists(
        st.tuples(st.sampled_from([*JOBS.values(), TALKATIVE]), st.sampled_from(TARGETS), BODIES),
        min_size=2,
        max_size=12,
    )
)
def test_whatever_was_asked_before_the_parameters_are_the_same(
    asked: list[tuple[Job, Target, dict[str, str]]],
) -> None:
    parameters = Parameters()
    for job, target, fields in [*asked, *asked]:
        raw = {name: msgspec.Raw(value.encode()) for name, value in fields.items()}
        try:
            told: Effective | str = parameters.effective(job, target, CHAT, raw)
        except BadRequest as error:
            told = error.message
        assert told == worked_out(job, target, raw)


def test_a_request_that_asks_like_one_before_is_not_worked_through_again() -> None:
    parameters, job = Parameters(), JOBS["extraction"]
    first = body('{"messages": [{"role": "user", "content": "a"}], "temperature": 0.5}')
    second = body('{"messages": [{"role": "user", "content": "other words"}], "temperature": 0.5}')
    effective = parameters.effective(job, PLAIN, CHAT, first)
    assert parameters.effective(job, PLAIN, CHAT, second) is effective


def test_the_memory_is_bounded() -> None:
    parameters, job = Parameters(), JOBS["extraction"]
    ways = [body(json.dumps({"messages": [], "seed": n})) for n in range(REMEMBERED_AT_MOST + 1)]
    first = parameters.effective(job, PLAIN, CHAT, ways[0])
    for asked in ways[1:]:
        parameters.effective(job, PLAIN, CHAT, asked)
    assert parameters.effective(job, PLAIN, CHAT, ways[0]) is not first
