"""Parameters for requests in each form, and those that are passed through in a form not chat.

The same authority as for chat: what makes no sense is refused, the job's policy clamps or fills
in, what the model would reject is dropped, and every departure from what was asked is told. The
formats name things differently: Responses has `max_output_tokens`, `instructions` and
`reasoning.effort`; Messages has `system` beside its messages; embeddings have no output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from gateway.errors import BadRequest
from gateway.jobs import parameters
from gateway.jobs.capabilities import MAX_TOKENS
from gateway.jobs.forms import CHAT, EMBEDDINGS, MESSAGES, RESPONSES
from gateway.jobs.parameters import (
    OTHER_MODELS,
    THE_JOB_CHOOSES,
    Effective,
    ParameterDraft,
)
from gateway.jobs.routes import Job, Target
from gateway.jobs.values import decoded

Asked = Mapping[str, msgspec.Raw]

_encode = msgspec.json.encode
_MAX_OUTPUT_TOKENS = "max_output_tokens"


def apply_embeddings(_job: Job, target: Target, asked: Asked) -> Effective:
    """Only the model is decided: an embedding has neither output nor temperature."""
    others = OTHER_MODELS & asked.keys()
    return Effective(
        set={"model": _encode(target.model)},
        remove=others,
        output_limit=0,
        n=1,
        temperature=None,
        changes=tuple(f"{name} dropped ({THE_JOB_CHOOSES})" for name in sorted(others)),
        system_first=False,
    )


def apply_messages(job: Job, target: Target, asked: Asked) -> Effective:
    """What to send for a request in Anthropic's Messages format. Raises BadRequest."""
    draft = parameters.begin(job, target, asked, MESSAGES)
    limit = parameters.output_limit(draft, (MAX_TOKENS,), (MAX_TOKENS,))
    parameters.thinking_under(draft, limit)
    temperature = _sampled(draft, None)
    system = _before(draft, "system", _text_or_blocks)
    return _done(draft, limit, temperature, system)


def apply_responses(job: Job, target: Target, asked: Asked) -> Effective:
    """What to send for a request in OpenAI's Responses format. Raises BadRequest."""
    draft = parameters.begin(job, target, asked, RESPONSES, also=(_MAX_OUTPUT_TOKENS, "reasoning"))
    limit = parameters.output_limit(draft, (_MAX_OUTPUT_TOKENS,), (_MAX_OUTPUT_TOKENS,))
    temperature = _sampled(draft, _effort(draft))
    system = _before(draft, "instructions", _text)
    return _done(draft, limit, temperature, system)


def _sampled(draft: ParameterDraft, effort: str | None) -> float | None:
    """The temperature that is sent; what the model does not take with it is dropped."""
    temperature = parameters.temperature_of(draft)
    if temperature is not None:
        draft.fields["temperature"] = _encode(temperature)
    if not parameters.takes_sampling(draft, effort):
        parameters.without_sampling(draft, temperature)
        return None
    if temperature is not None:
        return parameters.beside_temperature(draft, temperature, effort)
    return None


def _effort(draft: ParameterDraft) -> str | None:
    """The effort in `reasoning`; the job's is put there when the caller names none."""
    reasoning: object = None
    if "reasoning" in draft.given:
        reasoning = decoded(draft.given["reasoning"], "reasoning")
        if not isinstance(reasoning, dict):
            raise BadRequest("reasoning must be an object", param="reasoning")
        effort = reasoning.get("effort")
        if effort is not None and not isinstance(effort, str):
            raise BadRequest("reasoning.effort must be text", param="reasoning.effort")
        if effort is not None:
            return effort
    effort, levels = draft.job.reasoning_effort, draft.target.rules.efforts
    if effort is None or levels is None or effort not in levels:
        return None
    draft.fields["reasoning"] = _encode({**(reasoning or {}), "effort": effort})  # type: ignore[dict-item]
    return effort


def _before(
    draft: ParameterDraft, field: str, joined: Callable[[str, object, str], object]
) -> bool:
    """Put the job's own words before the caller's."""
    words = draft.job.system
    if words is None:
        return False
    raw = draft.asked.get(field)
    theirs = None if raw is None else decoded(bytes(raw), field)
    draft.fields[field] = _encode(words if theirs is None else joined(words, theirs, field))
    return True


def _text(words: str, theirs: object, field: str) -> str:
    if not isinstance(theirs, str):
        raise BadRequest(f"{field} must be text", param=field)
    return f"{words}\n\n{theirs}"


def _text_or_blocks(words: str, theirs: object, field: str) -> object:
    if isinstance(theirs, list):
        return [{"type": "text", "text": words}, *theirs]
    return _text(words, theirs, field)


def _done(
    draft: ParameterDraft, limit: int, temperature: float | None, system_first: bool
) -> Effective:
    return Effective(
        set=draft.fields,
        remove=frozenset(draft.remove),
        output_limit=limit,
        n=1,
        temperature=temperature,
        changes=tuple(draft.changes),
        system_first=system_first,
    )


APPLY: Mapping[str, Callable[[Job, Target, Asked], Effective]] = {
    CHAT: parameters.apply,
    EMBEDDINGS: apply_embeddings,
    RESPONSES: apply_responses,
    MESSAGES: apply_messages,
}
"""What to send, by the form of the request."""
