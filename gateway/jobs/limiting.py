"""A job's policies for the parameters that callers state, applied to one request.

What comes out is the request as if the caller had asked it so: what a model then takes of it is
decided elsewhere, in the same way as for everything that is asked. Jobs without such policies
never come here. The forms say the same things in different places: an effort stands in
`reasoning_effort`, `reasoning.effort` or `output_config.effort`, the form of an answer in
`response_format`, `text.format` or `output_config.format`; `n` and `seed` are chat's alone. A
default effort is not put into Messages, which have budgets of thinking of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.errors import BadRequest
from gateway.jobs.capabilities import EFFORTS
from gateway.jobs.forms import CHAT, MESSAGES, RESPONSES
from gateway.jobs.policies import EffortPolicy, FormatPolicy, Limits, NumberPolicy
from gateway.jobs.tool_policy import limit_tools
from gateway.jobs.values import decoded, number, positive, short, whole
from gateway.jobs.wishes import Wish

_BY_THE_JOB = "job policy"
_FORMAT = "response_format"
_OFF = "disabled"


def limited(job: str, policy: Limits, form: str, asked: Mapping[str, msgspec.Raw]) -> Wish:
    """The request as the job of that name allows it.

    Raises BadRequest, with `param`, for what makes no sense or what the job refuses.
    """
    wish = Wish(job, dict(asked))
    for name, outside in policy.closed:
        if wish.given(name) is not None:
            wish.close(name, outside, _BY_THE_JOB)
    _number(wish, "top_p", policy.top_p, number)
    if form == CHAT:
        _number(wish, "n", policy.n, positive)
        _number(wish, "seed", policy.seed, whole)
    if policy.effort is not None:
        _effort(wish, policy.effort, form)
    if policy.tools is not None:
        limit_tools(wish, policy.tools)
    if policy.format is not None:
        _answer(wish, policy.format, form)
    return wish


def within(policy: NumberPolicy, asked: float, name: str, job: str) -> tuple[float, str]:
    """The nearest value that a policy allows, and what to tell of it; nothing when it is what
    was asked. Raises BadRequest when the job refuses instead."""
    value = min(max(asked, policy.min), policy.max)
    if value == asked:
        return asked, ""
    if policy.outside == "refuse" and policy.pinned:
        said = f"{name}={short(asked)} is not {value}, which job {job!r} has pinned"
        raise BadRequest(said, param=name)
    if policy.outside == "refuse":
        raise BadRequest(
            f"{name}={short(asked)} is outside {policy.min} to {policy.max}, which is what job"
            f" {job!r} allows",
            param=name,
        )
    return value, f"{name}={short(asked)}->{value} ({_end(policy.pinned, asked > value)})"


def _end(pinned: bool, above: bool) -> str:
    if pinned:
        return "job pin"
    return "job maximum" if above else "job minimum"


def _number(
    wish: Wish, name: str, policy: NumberPolicy | None, read: Callable[[bytes, str], float]
) -> None:
    if policy is None:
        return
    raw = wish.given(name)
    if raw is None:
        if policy.default is not None:
            wish.put(name, policy.default)
        return
    value, told = within(policy, read(raw, name), name, wish.job)
    if told:
        wish.put(name, value)
        wish.told.append(told)


_EFFORT_IN = {RESPONSES: "reasoning", MESSAGES: "output_config"}


def _effort(wish: Wish, policy: EffortPolicy, form: str) -> None:
    """The caller's effort within the job's; the job's own is filled in later, if none is left."""
    outer = _EFFORT_IN.get(form)
    if outer is None:
        name, raw = "reasoning_effort", wish.given("reasoning_effort")
        asked = None if raw is None else decoded(raw, name)
    else:
        name = f"{outer}.effort"
        asked = _object(wish, outer).get("effort")
    if asked is not None:
        effort, told = _nearest(policy, asked, name, wish.job)
        if told:
            wish.told.append(told)
            wish.put(outer or name, {**_object(wish, outer), "effort": effort} if outer else effort)
    if policy.allowed == ("none",) and _object(wish, "thinking").get("type", _OFF) != _OFF:
        wish.close("thinking", policy.outside, "the job does not reason")


def _nearest(policy: EffortPolicy, asked: object, name: str, job: str) -> tuple[str, str]:
    if not isinstance(asked, str):
        raise BadRequest(f"{name} must be text", param=name)
    if asked in policy.allowed:
        return asked, ""
    if asked not in EFFORTS:
        raise BadRequest(f"{name} must be one of {', '.join(EFFORTS)}", param=name)
    if policy.outside == "refuse":
        said = f"{name}={asked} is not among what job {job!r} allows: {', '.join(policy.allowed)}"
        raise BadRequest(said, param=name)
    above = EFFORTS.index(asked) > EFFORTS.index(policy.allowed[-1])
    nearest = policy.allowed[-1 if above else 0]
    return nearest, f"{name}={asked}->{nearest} ({_end(policy.pinned, above)})"


def _object(wish: Wish, name: str) -> dict[str, Any]:
    """A field that must be an object; empty when it is not asked. Raises BadRequest."""
    raw = wish.given(name)
    value = {} if raw is None else decoded(raw, name)
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object", param=name)
    return value


def _answer(wish: Wish, policy: FormatPolicy, form: str) -> None:
    """The form of the answer, in the words of the request's own form."""
    if form == CHAT:
        asked = _object(wish, _FORMAT) if wish.given(_FORMAT) is not None else None
        new = _chosen(wish, policy, asked, policy.default)
        if new is not asked and new is not None:
            wish.put(_FORMAT, new)
    elif form == RESPONSES:
        text = _object(wish, "text")
        asked = text.get("format")
        new = _chosen(wish, policy, asked, _flat(policy.default))
        if new is not asked and new is not None:
            wish.put("text", {**text, "format": new})
    else:
        _answer_of_messages(wish, policy)


def _answer_of_messages(wish: Wish, policy: FormatPolicy) -> None:
    """Messages know schemas alone: plain text is said by saying nothing."""
    older = wish.given("output_format")
    config = _object(wish, "output_config")
    asked = config.get("format") if older is None else _object(wish, "output_format")
    default = policy.default
    if default is not None and default["type"] == "json_object":
        wish.told.append("response_format=json_object of the job dropped (Messages have no such)")
        default = None
    elif default is not None:
        schema = default.get("json_schema", {}).get("schema")
        default = {"type": "json_schema", "schema": schema} if schema else None
    new = _chosen(wish, policy, asked, default)
    if new is asked:
        return
    if older is not None:
        wish.fields.pop("output_format", None)
        wish.asked.pop("output_format")
        wish.removed.add("output_format")
    rest = {name: value for name, value in config.items() if name != "format"}
    if new is not None and new["type"] != "text":
        rest["format"] = new
    wish.put("output_config", rest)


def _chosen(
    wish: Wish, policy: FormatPolicy, asked: Any, default: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """What is asked if the job allows it, else what it has instead. Raises BadRequest."""
    if asked is None:
        return None if default is None or default["type"] == "text" else default
    kind = asked.get("type") if isinstance(asked, dict) else None
    if not isinstance(kind, str):
        raise BadRequest(f"{_FORMAT} must be an object with a type", param=_FORMAT)
    another = policy.pinned and kind == "json_schema" and asked != default
    if kind in policy.allowed and not another:
        found: dict[str, Any] = asked
        return found
    if policy.outside == "refuse":
        allowed = ", ".join(sorted(policy.allowed))
        said = f"{_FORMAT} {short(kind)} is not what job {wish.job!r} allows: {allowed}"
        raise BadRequest(said + (", and its own schema" if another else ""), param=_FORMAT)
    new = default or {"type": "text"}
    shown = kind if kind in ("text", "json_object", "json_schema") else short(kind)
    name = "of the job" if another else new["type"]
    wish.told.append(f"{_FORMAT}={shown}->{name} ({'job pin' if policy.pinned else _BY_THE_JOB})")
    return new


def _flat(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The form of an answer as the Responses format says it."""
    if wanted is None or wanted["type"] != "json_schema":
        return wanted
    return {"type": "json_schema", **wanted["json_schema"]}
