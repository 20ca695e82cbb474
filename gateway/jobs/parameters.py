"""What is really sent: the caller's parameters, the job's policy, and what the model takes.

`apply` is pure and runs for every attempt, so it looks at a handful of top-level fields and
leaves the rest of the body as the bytes that came. The order of authority: a value that makes no
sense is refused; the job's policy clamps, refuses or fills in; what the model would reject is
renamed or dropped. Every departure from what the caller asked is told in `changes`, as text that
fits a header. A default that the job fills in is its policy and not a change, and neither is the
job's system prompt; a default that the model cannot take is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.errors import BadRequest
from gateway.jobs.capabilities import MAX_COMPLETION_TOKENS, MAX_TOKENS, SAMPLING_FIELDS
from gateway.jobs.forms import CHAT
from gateway.jobs.limiting import limited, within
from gateway.jobs.routes import Job, Target
from gateway.jobs.thinking import budget_in
from gateway.jobs.thinking import within as thinking_within
from gateway.jobs.values import decoded, number, positive, short

CHOICES_MAX = 128
"""The largest `n` of OpenAI's API."""

_DEFAULT_CHOICES = 1
_NULL = b"null"
_OUTPUT_FIELDS = (MAX_TOKENS, MAX_COMPLETION_TOKENS, "max_output_tokens")
"""What the forms call the output limit."""
OTHER_MODELS = frozenset({"models", "fallbacks", "route", "preset"})
"""What names further models in a body: `fallbacks` in Anthropic's Messages, the others in
OpenRouter's API (their references, late 2026)."""
THE_JOB_CHOOSES = "the job chooses the model"
"""Why those are left out: what they cost was in no ceiling, and a job is not a model."""
_READ = OTHER_MODELS.union(
    (
        *SAMPLING_FIELDS,
        MAX_TOKENS,
        MAX_COMPLETION_TOKENS,
        "n",
        "reasoning_effort",
        "thinking",
    )
)
_encode = msgspec.json.encode


class _Thinking(msgspec.Struct):
    type: str = ""


_thinking = msgspec.json.Decoder(_Thinking)


class Effective(msgspec.Struct, frozen=True):
    """What to send instead of what was asked.

    `set` has raw JSON for each field to set, `remove` the fields to leave out. `output_limit` is
    in tokens for each of `n` choices. `temperature` None means that none is sent. `changes` are
    ASCII sentences for a header. `system_first`: the job's system prompt was put in front.
    """

    set: dict[str, bytes]
    remove: frozenset[str]
    output_limit: int
    n: int
    temperature: float | None
    changes: tuple[str, ...]
    system_first: bool


@dataclass(slots=True)
class ParameterDraft:
    """An Effective in the making."""

    job: Job
    target: Target
    asked: Mapping[str, msgspec.Raw]
    given: dict[str, bytes]
    """What was asked, without the nulls, for the fields that are looked at."""
    fields: dict[str, bytes] = field(default_factory=dict)
    remove: set[str] = field(default_factory=set)
    changes: list[str] = field(default_factory=list)

    def drop(self, name: str, why: str) -> None:
        """Leave a field out, and tell it if the caller gave it."""
        self.fields.pop(name, None)
        self.remove.add(name)
        if name in self.given:
            self.changes.append(f"{name} dropped ({why})")


def apply(job: Job, target: Target, asked: Mapping[str, msgspec.Raw]) -> Effective:
    """What to send to `target` for a request body whose top level is `asked`.

    Values of `asked` are raw JSON; null counts as not given. Raises BadRequest, with `param`, for
    a temperature, output limit, effort or `n` that makes no sense or that the job refuses.
    """
    draft = begin(job, target, asked)
    limit = output_limit(draft, (MAX_COMPLETION_TOKENS, MAX_TOKENS), target.rules.output_fields)
    thinking_under(draft, limit)
    n = _choices(draft)
    effort = _effort(draft)
    temperature = temperature_of(draft)
    if temperature is not None:
        draft.fields["temperature"] = _encode(temperature)
    if not takes_sampling(draft, effort):
        without_sampling(draft, temperature)
        temperature = None
    elif temperature is not None:
        temperature = beside_temperature(draft, temperature, effort)
    _other_fields(draft)
    system_first = _system_prompt(draft)
    return Effective(
        set=draft.fields,
        remove=frozenset(draft.remove),
        output_limit=limit,
        n=n,
        temperature=temperature,
        changes=tuple(draft.changes),
        system_first=system_first,
    )


def begin(
    job: Job,
    target: Target,
    asked: Mapping[str, msgspec.Raw],
    form: str = CHAT,
    also: tuple[str, ...] = (),
) -> ParameterDraft:
    """The start of an Effective, with the job's further policies applied; `also` are further
    fields that will be looked at. Raises BadRequest."""
    rules = target.rules
    wish = None if job.limits is None else limited(job.name, job.limits, form, asked)
    if wish is not None:
        asked = wish.asked
    given = {
        name: raw
        for name in asked
        if (name in _READ or name in rules.refused or name in rules.renamed or name in also)
        and (raw := bytes(asked[name])) != _NULL
    }
    draft = ParameterDraft(job, target, asked, given)
    if wish is not None:
        draft.fields, draft.remove, draft.changes = wish.fields, wish.removed, wish.told
    draft.fields["model"] = _encode(target.model)
    for name in sorted(OTHER_MODELS & asked.keys()):
        draft.drop(name, THE_JOB_CHOOSES)
    return draft


def output_limit(
    draft: ParameterDraft, spoken_names: tuple[str, ...], accepted: tuple[str, ...]
) -> int:
    """Tokens a choice may have; the limit is always set, under a name that the model knows.

    `spoken_names` are those the format has for it, `accepted` those the model takes, the one to
    use first.
    """
    policy, target = draft.job.output, draft.target
    asked = {
        name: positive(draft.given[name], name) for name in spoken_names if name in draft.given
    }
    limit = policy.default
    name = accepted[0]
    if asked:
        limit = min(asked.values())
        spoken = min(asked, key=lambda known: asked[known])
        if limit > policy.max or (policy.pinned and limit < policy.max):
            if policy.outside == "refuse" and policy.pinned:
                raise BadRequest(
                    f"{spoken}={short(limit)} is not the {policy.max} that job "
                    f"{draft.job.name!r} has pinned",
                    param=spoken,
                )
            if policy.outside == "refuse":
                raise BadRequest(
                    f"{spoken}={short(limit)} is more than the {policy.max} that job "
                    f"{draft.job.name!r} allows",
                    param=spoken,
                )
            why = "job pin" if policy.pinned else "job limit"
            draft.changes.append(f"{spoken}={short(limit)}->{policy.max} ({why})")
            limit = policy.max
        if spoken in accepted:
            name = spoken
        else:
            draft.changes.append(f"{spoken} renamed {name}")
        if len(asked) > 1:
            others = ", ".join(other for other in asked if other != spoken)
            draft.changes.append(f"{others} dropped ({spoken} is given too)")
    if target.output_limit is not None and limit > target.output_limit:
        if asked:
            draft.changes.append(f"{name}={limit}->{target.output_limit} (model limit)")
        limit = target.output_limit
    draft.fields[name] = _encode(limit)
    draft.remove.update(other for other in spoken_names if other != name)
    return limit


def thinking_under(draft: ParameterDraft, limit: int) -> None:
    """Lower the tokens of thinking that the caller asks for under the output limit."""
    if "thinking" not in draft.given or budget_in(draft.given["thinking"]) is None:
        return
    thinking = thinking_within(draft.given["thinking"], limit)
    if thinking is None:
        draft.drop("thinking", f"an answer of {limit} tokens leaves no room for it")
        del draft.given["thinking"]
        return
    draft.fields["thinking"], told = thinking
    draft.changes += [told] if told else []


def shortened(effective: Effective, limit: int, why: str) -> Effective | None:
    """The same with a lower output limit, told with its reason; None when it has no limit, or
    has tokens of thinking for which the lower one leaves no room."""
    name = next((name for name in _OUTPUT_FIELDS if name in effective.set), None)
    if name is None:
        return None
    fields = {**effective.set, name: _encode(limit)}
    changes = [*effective.changes, f"{name}={effective.output_limit}->{limit} ({why})"]
    if "thinking" in fields:
        thinking = thinking_within(fields["thinking"], limit)
        if thinking is None:
            return None
        fields["thinking"], told = thinking
        changes += [told] if told else []
    return msgspec.structs.replace(
        effective, set=fields, output_limit=limit, changes=tuple(changes)
    )


def _choices(draft: ParameterDraft) -> int:
    if "n" not in draft.given:
        return _DEFAULT_CHOICES
    n = positive(draft.given["n"], "n")
    if n > CHOICES_MAX:
        raise BadRequest(f"n={short(n)} is more than {CHOICES_MAX}", param="n")
    most = draft.target.rules.choices_max
    if n > most:
        draft.changes.append(f"n={n}->{most} ({draft.target.model} answers at most {most})")
        n = most
    if draft.target.rules.choices_max == 1:
        draft.fields.pop("n", None)
        draft.remove.add("n")
    else:
        draft.fields["n"] = _encode(n)
    return n


def _effort(draft: ParameterDraft) -> str | None:
    """The reasoning effort that is sent, the job's when the caller names none."""
    levels = draft.target.rules.efforts
    if "reasoning_effort" in draft.given:
        effort = decoded(draft.given["reasoning_effort"], "reasoning_effort")
        if not isinstance(effort, str):
            raise BadRequest("reasoning_effort must be text", param="reasoning_effort")
        if levels is None or effort in levels:
            return effort
        draft.drop("reasoning_effort", f"{draft.target.model} does not take {effort[:16]!a}")
        return None
    effort = draft.job.reasoning_effort
    if effort is None or levels is None or effort not in levels:
        return None
    draft.fields["reasoning_effort"] = _encode(effort)
    return effort


def temperature_of(draft: ParameterDraft) -> float | None:
    """The temperature that job and provider's range leave of what was asked."""
    policy = draft.job.temperature
    if "temperature" not in draft.given:
        return None if policy.default is None else _within_provider(draft, policy.default)
    asked = number(draft.given["temperature"], "temperature")
    value, told = within(policy, asked, "temperature", draft.job.name)
    if told:
        draft.changes.append(told)
    return _within_provider(draft, float(value))


def _within_provider(draft: ParameterDraft, value: float) -> float:
    rules = draft.target.rules
    within = min(max(value, rules.temperature_min), rules.temperature_max)
    if within != value:
        end = "maximum" if value > within else "minimum"
        draft.changes.append(
            f"temperature={value}->{within} ({end} of {draft.target.provider.name})"
        )
    return within


def takes_sampling(draft: ParameterDraft, effort: str | None) -> bool:
    """Whether the model takes temperature and its kin at this reasoning effort."""
    sampling = draft.target.rules.sampling
    if sampling == "effort_unset_or_none":
        return effort is None or effort == "none"
    return sampling == "always" or (sampling == "effort_none" and effort == "none")


def without_sampling(draft: ParameterDraft, temperature: float | None) -> None:
    """Take out all that steers sampling; the job's own temperature is told too."""
    model = draft.target.model
    conditional = draft.target.rules.sampling != "never"
    why = f"{model} refuses it while it reasons" if conditional else f"{model} refuses it"
    if temperature is not None and "temperature" not in draft.given:
        draft.changes.append(f"temperature={temperature} of the job dropped ({why})")
    for name in SAMPLING_FIELDS:
        if name in draft.given or name in draft.fields:
            draft.drop(name, why)


def beside_temperature(
    draft: ParameterDraft, temperature: float, effort: str | None
) -> float | None:
    """What the model does not take together with a temperature."""
    rules, model = draft.target.rules, draft.target.model
    if rules.thinking_fixes_temperature and temperature != 1.0 and _thinks(draft, effort):
        if "temperature" not in draft.given:
            draft.changes.append(
                f"temperature={temperature} of the job dropped ({model} refuses it with thinking)"
            )
        draft.drop("temperature", f"{model} refuses it with thinking")
        return None
    if not rules.top_p_with_temperature and "top_p" in draft.given:
        draft.drop("top_p", f"{model} refuses it with temperature")
    return temperature


def _thinks(draft: ParameterDraft, effort: str | None) -> bool:
    if effort is not None and effort != "none":
        return True
    if "thinking" not in draft.given:
        return False
    try:
        return _thinking.decode(draft.given["thinking"]).type not in ("", "disabled")
    except msgspec.DecodeError:
        return False


def _other_fields(draft: ParameterDraft) -> None:
    """Fields that this model never takes, or takes under another name."""
    rules, model = draft.target.rules, draft.target.model
    for name in draft.asked:
        if name in rules.refused and name not in draft.remove:
            draft.drop(name, f"{model} does not take it")
        elif name in rules.renamed:
            draft.fields.pop(name, None)
            draft.remove.add(name)
            if name in draft.given:
                draft.fields[rules.renamed[name]] = draft.given[name]
                draft.changes.append(f"{name} renamed {rules.renamed[name]}")
    if not rules.stream_options:
        # Not a change to tell: whoever asked for usage gets it, made from what comes unasked.
        draft.remove.add("stream_options")


def _system_prompt(draft: ParameterDraft) -> bool:
    """Put the job's own words before the caller's messages, without reading those."""
    if draft.job.system is None or "messages" not in draft.asked:
        return False
    messages = memoryview(draft.asked["messages"])
    if bytes(messages[:1]) != b"[":
        return False
    rest = messages[1:]
    first = _encode({"role": "system", "content": draft.job.system})
    empty = bytes(rest[:64]).lstrip().startswith(b"]")
    draft.fields["messages"] = b"".join((b"[", first, b"" if empty else b",", rest))
    return True
