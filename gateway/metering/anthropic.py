"""Reading usage out of Anthropic's messages, and out of the rounds that they were made in.

One message can be made in several rounds (`iterations`): a compaction of the context, an advisor
that is another model, a first try that a fallback declined. The top level tells the sum of what
the answering model's own rounds are billed, without compactions and without advisors. Which
field means what is from Anthropic's API reference (late 2026).
"""

from __future__ import annotations

from gateway.metering.figures import Raw, name, number, part, searches
from gateway.metering.usage import NOTHING, Extra, Usage

_OWN_ROUNDS = ("message", "fallback_message", "compaction")
_FEWEST_ROUNDS = 2
_INPUTS = ("input", "cache_read", "cache_write", "cache_write_1h")
_EXTRAS_AT_MOST = 20
"""So many times an advisor is asked before its tokens are added up: each is an entry."""


def anthropic(raw: Raw) -> Usage | None:
    """Usage of an Anthropic message; a write without the split is a five-minute one.

    A compaction of the context is billed and told only in `iterations`, so it is added. The
    other iterations of this model are in the top level already, but for those that a server-side
    fallback declined, which are not billed; an advisor's are `anthropic_extras`.
    """
    own = _counts(raw)
    if own is None:
        return own
    for iteration in _iterations(raw, "compaction"):
        more = _counts(iteration)
        own = own if more is None else own.plus(more)
    return own


def anthropic_extras(raw: Raw) -> tuple[Extra, ...]:
    """An advisor's tokens: another model's, at its own rates, and told only in `iterations`.

    One for each time it was asked, because its size tier goes by the iteration.
    """
    found = []
    for iteration in _iterations(raw, "advisor_message"):
        usage = _counts(iteration)
        if usage is not None and usage != NOTHING:
            found.append(Extra(of=name(iteration, "model"), usage=usage))
    if len(found) <= _EXTRAS_AT_MOST:
        return tuple(found)
    sums: dict[str, Usage] = {}
    for extra in found:
        sums[extra.of] = sums.get(extra.of, NOTHING).plus(extra.usage)
    return tuple(Extra(of=model, usage=usage) for model, usage in sums.items())


def anthropic_rounds(raw: Raw) -> tuple[Usage, ...]:
    """The iterations of the answering model that add up to its usage, each one round of it.

    Empty when there are fewer than two, or when they do not add up. The price's size tier goes by
    the round, and not by their sum (Anthropic, long context pricing).
    """
    whole = anthropic(raw)
    told = [_counts(each) for each in _iterations(raw, *_OWN_ROUNDS)]
    rounds = tuple(usage for usage in told if usage is not None)
    if whole is None or len(rounds) < _FEWEST_ROUNDS or len(rounds) < len(told):
        return ()
    fits = all(sum(getattr(r, n) for r in rounds) == getattr(whole, n) for n in _INPUTS)
    return rounds if fits and sum(r.output_total for r in rounds) == whole.output_total else ()


def _iterations(raw: Raw, *kinds: str) -> list[Raw]:
    """The iterations of some kinds in a usage."""
    told = raw.get("iterations")
    listed = told if isinstance(told, list) else []
    return [each for each in listed if isinstance(each, dict) and each.get("type") in kinds]


def _counts(raw: Raw) -> Usage | None:
    prompt, output = number(raw, "input_tokens"), number(raw, "output_tokens")
    if prompt is None:
        return None
    written = number(raw, "cache_creation_input_tokens") or 0
    split = part(raw, "cache_creation")
    hour = number(split, "ephemeral_1h_input_tokens") or 0
    short = number(split, "ephemeral_5m_input_tokens") or 0
    thinking = number(part(raw, "output_tokens_details"), "thinking_tokens") or 0
    thinking = min(thinking, output or 0)
    return Usage(
        input=prompt,
        cache_read=number(raw, "cache_read_input_tokens") or 0,
        cache_write=max(short, written - hour),
        cache_write_1h=hour,
        output=(output or 0) - thinking,
        reasoning=thinking,
        requests=searches(raw),
    )
