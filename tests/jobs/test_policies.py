"""A job's policies for what callers state: default, range, pin, drop and refuse, in each form."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.jobs.forms import CHAT, EMBEDDINGS, MESSAGES, RESPONSES
from gateway.jobs.native_parameters import APPLY
from gateway.jobs.parameters import Effective
from gateway.jobs.routes import Job
from tests.jobs.samples import body, changed, loaded, problems

OWNER = "    owner: data\n"
EFFORT, FORMAT = "reasoning_effort", "response_format"
TEMPERATURE = "    temperature: {default: 0, max: 1}\n"
OUTPUT = "    output_tokens: {default: 1000, max: 4000}\n"
SCHEMA = "{type: json_schema, json_schema: {name: bill, strict: true, schema: {type: object}}}"
BILL = {"name": "bill", "strict": True, "schema": {"type": "object"}}
LOOK_UP = {"type": "function", "function": {"name": "look_up"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
REMOTE = {"type": "mcp", "server_label": "x"}


def a_job(policy: str, instead_of: str = OWNER, model: str = "gpt-4.1") -> Job:
    """The small file's job with a policy, in place of what it has or beside its owner."""
    words = f"    {policy}\n" if policy else ""
    kept = OWNER if instead_of == OWNER else ""
    text = changed((instead_of, kept + words), ("openai/gpt-4.1", f"openai/{model}"))
    return loaded(text).jobs["extraction"]


def applied(job: Job, asked: dict[str, Any], form: str = CHAT) -> Effective:
    return APPLY[form](job, job.targets[0], body(json.dumps(asked)))


def left_of(job: Job, asked: dict[str, Any], form: str = CHAT) -> tuple[dict[str, Any], str]:
    """What leaves of what was asked or put there, but for what every request has, and what is
    told of it."""
    effective = applied(job, asked, form)
    fields = asked | {name: json.loads(raw) for name, raw in effective.set.items()}
    always = ("model", "max_completion_tokens", "max_output_tokens", "max_tokens", "temperature")
    left = {n: v for n, v in fields.items() if n not in effective.remove and n not in always}
    return left, "; ".join(effective.changes)


# fmt: off
CHATS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "a default when nothing is stated": ("top_p: {default: 0.9}", {}, {"top_p": 0.9}, ""),
    "null is nothing": ("top_p: {default: 0.9}", {"top_p": None}, {"top_p": 0.9}, ""),
    "and not over what is": ("top_p: {default: 0.9}", {"top_p": 0.2}, {"top_p": 0.2}, ""),
    "too much of it": (
        "top_p: {max: 0.5}", {"top_p": 1}, {"top_p": 0.5}, "top_p=1->0.5 (job maximum)"),
    "too little of it": (
        "top_p: {min: 0.5}", {"top_p": 0.1}, {"top_p": 0.5}, "top_p=0.1->0.5 (job minimum)"),
    "a pin, unasked": ("top_p: {pin: 0.3}", {}, {"top_p": 0.3}, ""),
    "a pin, over what is asked": (
        "top_p: {pin: 0.3}", {"top_p": 0.4}, {"top_p": 0.3}, "top_p=0.4->0.3 (job pin)"),
    "a pin that is asked for": ("top_p: {pin: 0.3}", {"top_p": 0.3}, {"top_p": 0.3}, ""),
    "dropped": ("top_p: drop", {"top_p": 0.4}, {}, "top_p dropped (job policy)"),
    "more answers than the job gives": ("n: {max: 2}", {"n": 5}, {"n": 2}, "n=5->2 (job maximum)"),
    "always two answers": ("n: {pin: 2}", {}, {"n": 2}, ""),
    "a seed for everybody": ("seed: {pin: 7}", {"seed": 4}, {"seed": 7}, "seed=4->7 (job pin)"),
    "a seed by default": ("seed: {default: 7}", {"seed": -4}, {"seed": -4}, ""),
    "no seeds": ("seed: drop", {"seed": 4}, {}, "seed dropped (job policy)"),
    "tools of some kinds": (
        "tools: {allow: [function, web_search]}", {"tools": [LOOK_UP, REMOTE, SEARCH]},
        {"tools": [LOOK_UP, SEARCH]},
        "tools of type 'mcp' dropped (the job takes function, web_search)"),
    "a choice of a tool that may be gone": (
        "tools: {allow: [function]}",
        {"tools": [LOOK_UP, REMOTE], "tool_choice": {"type": "mcp"}, "parallel_tool_calls": True},
        {"tools": [LOOK_UP], "parallel_tool_calls": True},
        "tools of type 'mcp' dropped (the job takes function); tool_choice dropped (some tools"
        " are gone)"),
    "no tools, and nothing that needs them": (
        "tools: drop", {"tools": [LOOK_UP], "tool_choice": "auto", "web_search_options": {}}, {},
        "tools dropped (the job takes no tools); tool_choice dropped (no tools are left);"
        " web_search_options dropped (the job takes no tools)"),
    "functions as they were once": (
        "tools: drop", {"functions": [{"name": "a"}], "function_call": "auto"}, {},
        "functions dropped (the job takes no tools); function_call dropped (no functions are"
        " left)"),
    "JSON by default": (
        "response_format: {default: json_object}", {},
        {"response_format": {"type": "json_object"}}, ""),
    "a schema, whatever is asked": (
        f"response_format: {{pin: {SCHEMA}}}", {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_schema", "json_schema": BILL}},
        "response_format=text->json_schema (job pin)"),
    "another schema than the job's": (
        f"response_format: {{pin: {SCHEMA}}}",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        {"response_format": {"type": "json_schema", "json_schema": BILL}},
        "response_format=json_schema->of the job (job pin)"),
    "text alone": (
        "response_format: drop", {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "text"}}, "response_format=json_object->text (job policy)"),
    "text pinned is what nothing says": ("response_format: {pin: text}", {}, {}, ""),
    "no thinking in a job that does not reason": (
        "reasoning_effort: {pin: none}", {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {}, "thinking dropped (the job does not reason)"),
}
# fmt: on


@pytest.mark.parametrize(("policy", "asked", "left", "told"), CHATS.values(), ids=list(CHATS))
def test_what_a_policy_makes_of_a_chat(
    policy: str, asked: dict[str, Any], left: dict[str, Any], told: str
) -> None:
    assert left_of(a_job(policy), asked) == (left, told)


@pytest.mark.parametrize(
    ("policy", "asked", "param"),
    [
        ("top_p: refuse", {"top_p": 0.4}, "top_p"),
        ("top_p: {max: 0.5, outside: refuse}", {"top_p": 0.6}, "top_p"),
        ("top_p: {pin: 0.5, outside: refuse}", {"top_p": 0.6}, "top_p"),
        ("n: {max: 2, outside: refuse}", {"n": 3}, "n"),
        ("seed: {pin: 7, outside: refuse}", {"seed": 8}, "seed"),
        ("seed: {default: 7}", {"seed": 1.5}, "seed"),
        ("seed: {default: 7}", {"seed": "x"}, "seed"),
        ("top_p: {default: 1}", {"top_p": "all"}, "top_p"),
        (f"{EFFORT}: {{max: low, outside: refuse}}", {EFFORT: "high"}, EFFORT),
        (f"{EFFORT}: {{max: low}}", {EFFORT: "boundless"}, EFFORT),
        (f"{EFFORT}: {{max: low}}", {EFFORT: 3}, EFFORT),
        (f"{EFFORT}: {{pin: none, outside: refuse}}", {"thinking": {"type": "on"}}, "thinking"),
        ("tools: refuse", {"tools": [LOOK_UP]}, "tools"),
        ("tools: {allow: [mcp], outside: refuse}", {"tools": [LOOK_UP]}, "tools"),
        ("tools: refuse", {"mcp_servers": [{}]}, "mcp_servers"),
        ("tools: drop", {"tools": "all"}, "tools"),
        ("tools: drop", {"tools": ["look_up"]}, "tools"),
        (f"{FORMAT}: refuse", {FORMAT: {"type": "json_object"}}, FORMAT),
        (f"{FORMAT}: drop", {FORMAT: "json"}, FORMAT),
        (f"{FORMAT}: drop", {FORMAT: {"type": 1}}, FORMAT),
    ],
)  # fmt: skip
def test_what_a_policy_refuses_names_the_field_and_the_job(
    policy: str, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        applied(a_job(policy), asked)
    assert refusal.value.param == param
    assert refusal.value.message.isascii()


def test_a_pinned_temperature_is_the_only_one() -> None:
    job = a_job("temperature: {pin: 0.3}", TEMPERATURE)
    assert applied(job, {}).temperature == 0.3
    warmer = applied(job, {"temperature": 1})
    assert (warmer.temperature, warmer.changes) == (0.3, ("temperature=1->0.3 (job pin)",))
    strict = a_job("temperature: {pin: 0.3, outside: refuse}", TEMPERATURE)
    with pytest.raises(BadRequest, match=r"temperature=1 is not 0\.3, which job 'extraction' has"):
        applied(strict, {"temperature": 1})


@pytest.mark.parametrize("asked", [10, 500, 9000])
def test_a_pinned_output_limit_is_the_only_one(asked: int) -> None:
    job = a_job("output_tokens: {pin: 500}", OUTPUT)
    found = applied(job, {"max_tokens": asked})
    told = () if asked == 500 else (f"max_tokens={asked}->500 (job pin)",)
    assert (found.output_limit, found.changes) == (500, told)
    assert applied(job, {}).output_limit == 500
    if asked != 500:
        with pytest.raises(BadRequest, match="500 that job 'extraction' has pinned"):
            applied(
                a_job("output_tokens: {pin: 500, outside: refuse}", OUTPUT), {"max_tokens": asked}
            )


@pytest.mark.parametrize(
    ("policy", "asked", "sent", "told"),
    [
        ("{max: low}", "high", "low", "reasoning_effort=high->low (job maximum)"),
        ("{min: medium, max: high}", "none", "medium", f"{EFFORT}=none->medium (job minimum)"),
        ("{max: high}", "low", "low", ""),
        ("{default: low, max: high}", None, "low", ""),
        ("{pin: medium}", "high", "medium", "reasoning_effort=high->medium (job pin)"),
        ("{pin: medium}", None, "medium", ""),
        ("low", "high", "high", ""),
    ],
)  # fmt: skip
def test_how_much_a_job_lets_a_model_reason(
    policy: str, asked: str | None, sent: str, told: str
) -> None:
    job = a_job(f"reasoning_effort: {policy}", TEMPERATURE, "gpt-5.4")
    wanted = {} if asked is None else {"reasoning_effort": asked}
    left, said = left_of(job, wanted)
    assert (left["reasoning_effort"], said) == (sent, told)
    inner = {"reasoning": {"effort": asked, "summary": "auto"}} if asked else {}
    left, said = left_of(job, inner, RESPONSES)
    assert left["reasoning"]["effort"] == sent
    assert said == told.replace("reasoning_effort", "reasoning.effort")


def test_messages_are_held_to_the_same_policies_in_their_own_words() -> None:
    effort = a_job("reasoning_effort: {max: low}")
    left, told = left_of(effort, {"output_config": {"effort": "max", "x": 1}}, MESSAGES)
    assert left == {"output_config": {"effort": "low", "x": 1}}
    assert told == "output_config.effort=max->low (job maximum)"
    wanted = {"type": "json_schema", "schema": BILL["schema"]}
    schema = a_job(f"response_format: {{pin: {SCHEMA}}}")
    assert left_of(schema, {}, MESSAGES) == ({"output_config": {"format": wanted}}, "")
    older = {"output_format": {"type": "json_schema", "schema": {"type": "array"}}}
    assert left_of(schema, older, MESSAGES)[0] == {"output_config": {"format": wanted}}
    text = a_job("response_format: drop")
    left, told = left_of(text, {"output_config": {"format": wanted}}, MESSAGES)
    assert (left, told) == ({"output_config": {}}, "response_format=json_schema->text (job policy)")
    tools = a_job("tools: {allow: [function]}")
    left, _ = left_of(tools, {"tools": [{"name": "look_up"}, SEARCH]}, MESSAGES)
    assert left == {"tools": [{"name": "look_up"}]}


def test_a_response_is_held_to_the_format_of_the_job() -> None:
    job = a_job(f"response_format: {{pin: {SCHEMA}}}")
    left, told = left_of(job, {"text": {"verbosity": "low"}}, RESPONSES)
    assert left == {"text": {"verbosity": "low", "format": {"type": "json_schema", **BILL}}}
    assert told == ""
    asked = {"text": {"format": {"type": "json_object"}}}
    assert left_of(job, asked, RESPONSES)[1] == "response_format=json_object->json_schema (job pin)"


def test_an_embedding_is_none_of_these_policies_business() -> None:
    job = a_job("top_p: {pin: 0.3}")
    assert applied(job, {"input": "x"}, EMBEDDINGS).set.keys() == {"model"}


def test_what_the_job_wants_and_the_model_does_not_take_is_told_at_load_and_in_the_answer() -> None:
    words = (OWNER, f"{OWNER}    top_p: {{pin: 0.3}}\n")
    text = changed(words, ("openai/gpt-4.1", "openai/o3"), (TEMPERATURE, ""))
    routes = loaded(text)
    (warning,) = routes.warnings
    assert "top_p dropped: openai/o3 refuses it" in warning
    assert left_of(routes.jobs["extraction"], {}) == ({}, "top_p dropped (o3 refuses it)")


@pytest.mark.parametrize(
    ("policy", "instead_of", "problem"),
    [
        ("top_p: {min: 0.5, max: 0.4}", OWNER, "top_p: min 0.5 is more than max 0.4"),
        ("top_p: {max: 0.4, default: 1}", OWNER, "top_p.default: 1 is not between min 0 and max"),
        ("top_p: {pin: 0.4, max: 1}", OWNER, "top_p.max: has no meaning beside a pin"),
        ("top_p: {pin: 2}", OWNER, "top_p.pin: must be less than or equal to 1"),
        ("top_p: off", OWNER, "top_p: must be 'drop' or 'refuse', not 'off'"),
        ("n: {max: 1, default: 2}", OWNER, "n.default: 2 is more than max 1"),
        ("n: {max: 200}", OWNER, "n.max: must be less than or equal to 128"),
        ("seed: {pin: 1, default: 2}", OWNER, "seed.default: has no meaning beside a pin"),
        ("reasoning_effort: {min: high, max: low}", OWNER, "min high is more than max low"),
        ("reasoning_effort: {max: low, default: high}", OWNER, "high is not between min none and"),
        ("reasoning_effort: hihg", OWNER, "reasoning_effort: must be 'none', 'minimal'"),
        ("tools: {allow: []}", OWNER, "tools.allow: must have at least 1 item"),
        ("response_format: {pin: xml}", OWNER, "response_format.pin: must be 'text' or"),
        ("response_format: {pin: {type: json_schema, json_schema: {}}}", OWNER, "needs a name"),
        ("response_format: {allow: [json_object]}", OWNER, "say with default what"),
        ("response_format: {allow: [text], default: json_object}", OWNER, "not among those of"),
        ("temperature: {pin: 1, default: 1}", TEMPERATURE, "temperature.default: has no meaning"),
        ("output_tokens: {pin: 10, max: 10}", OUTPUT, "output_tokens.max: has no meaning"),
        ("output_tokens: {default: 10}", OUTPUT, "output_tokens: needs max"),
    ],
)  # fmt: skip
def test_a_policy_that_contradicts_itself_does_not_load(
    policy: str, instead_of: str, problem: str
) -> None:
    kept = OWNER if instead_of == OWNER else ""
    (found,) = problems(changed((instead_of, f"{kept}    {policy}\n")))
    assert problem in found


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner)),
    max_leaves=4,
)
FIELDS = (
    *("top_p", "n", "seed", "reasoning_effort", "tools", "tool_choice", "response_format"),
    *("thinking", "text", "reasoning", "output_config", "output_format", "functions"),
)
EVERYTHING = a_job(
    "top_p: {max: 0.5}\n    n: {max: 2}\n    seed: {pin: 7}\n    reasoning_effort: {max: low}\n"
    f"    tools: {{allow: [function]}}\n    response_format: {{pin: {SCHEMA}}}"
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from([CHAT, RESPONSES, MESSAGES]))
def test_whatever_is_asked_is_within_the_policies_or_a_bad_request(
    asked: dict[str, object], form: str
) -> None:
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in asked.items()}
    target = EVERYTHING.targets[0]
    try:
        effective = APPLY[form](EVERYTHING, target, raw)
    except BadRequest as refusal:
        assert refusal.message.isascii()
        return
    fields = {name: bytes(value) for name, value in raw.items()} | effective.set
    sent = {name: json.loads(v) for name, v in fields.items() if name not in effective.remove}
    assert not effective.remove & effective.set.keys()
    assert all(change.isascii() and change.isprintable() for change in effective.changes)
    assert (sent.get("top_p") or 0) <= 0.5
    assert effective.n <= 2
    if form == CHAT:
        assert sent["seed"] == 7
        assert sent["response_format"] == {"type": "json_schema", "json_schema": BILL}
    kinds = {(tool.get("type") or "function") for tool in sent.get("tools") or []}
    assert all(not isinstance(k, str) or k.startswith(("function", "custom")) for k in kinds)
