"""What a job's sections about parameters mean: from the file as written to policies.

A default or a pin that the policy itself does not allow is a problem; one that a target of the
job will not take is a warning, because the answer will be another than the file promises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.jobs.capabilities import EFFORTS, ParameterRules
from gateway.jobs.document import Path
from gateway.jobs.policies import (
    EffortPolicy,
    FormatPolicy,
    Limits,
    NumberPolicy,
    Outside,
    ToolsPolicy,
)
from gateway.jobs.policy_schema import (
    ChoicesSection,
    EffortSection,
    FormatSection,
    SchemaFormatSection,
    SeedSection,
    TemperatureSection,
    TopPSection,
)
from gateway.jobs.problems import Problems
from gateway.jobs.routes import Job, OutputPolicy, Target, TemperaturePolicy
from gateway.jobs.schema import JobSection

_CLOSED: Mapping[str, Outside] = {"drop": "clamp", "refuse": "refuse"}
_SEEDS = (-(2**63), 2**63 - 1)


def temperature(section: JobSection, path: Path, problems: Problems) -> TemperaturePolicy:
    """The policy for temperature."""
    found = _range(section.temperature, (*path, "temperature"), problems)
    return TemperaturePolicy(found.default, found.min, found.max, found.outside, found.pinned)


def output(section: JobSection, path: Path, problems: Problems) -> OutputPolicy:
    """The policy for output tokens."""
    written, here = section.output_tokens, (*path, "output_tokens")
    if written.pin is not None:
        for name in ("default", "max"):
            if name in written.model_fields_set:
                problems.add((*here, name), "has no meaning beside a pin; leave one of them out")
        return OutputPolicy(written.pin, written.pin, written.outside, pinned=True)
    if written.max is None:
        problems.add(here, "needs max: the most that one answer may have (or a pin)")
        return OutputPolicy(1, 1, written.outside)
    default = written.max if written.default is None else written.default
    if default > written.max:
        problems.add((*here, "default"), f"{default} is more than max {written.max}")
    return OutputPolicy(default, written.max, written.outside)


def effort(section: JobSection) -> str | None:
    """The effort that is sent when the caller states none."""
    written = section.reasoning_effort
    if isinstance(written, EffortSection):
        return written.default if written.pin is None else written.pin
    return written


def limits(section: JobSection, path: Path, problems: Problems) -> Limits | None:
    """The policies for all other parameters; None when the job has none."""
    closed = [
        (name, _CLOSED[written])
        for name, written in (("top_p", section.top_p), ("seed", section.seed))
        if isinstance(written, str)
    ]
    wanted = _format(section, (*path, "response_format"), problems)
    found = Limits(
        top_p=_range(section.top_p, (*path, "top_p"), problems)
        if isinstance(section.top_p, TopPSection)
        else None,
        n=None if section.n is None else _choices(section.n, (*path, "n"), problems),
        seed=_seed(section.seed, (*path, "seed"), problems)
        if isinstance(section.seed, SeedSection)
        else None,
        effort=_efforts(section, (*path, "reasoning_effort"), problems),
        tools=_tools(section),
        format=wanted,
        closed=tuple(closed),
        added_bytes=len(msgspec.json.encode(wanted.default)) if wanted and wanted.default else 0,
    )
    return None if found == Limits() else found


def _range(
    written: TemperatureSection | TopPSection, path: Path, problems: Problems
) -> NumberPolicy:
    if written.pin is not None:
        _alone(written.model_fields_set & {"default", "min", "max"}, path, problems)
        value = float(written.pin)
        return NumberPolicy(value, value, value, written.outside, pinned=True)
    if written.min > written.max:
        problems.add(path, f"min {written.min:g} is more than max {written.max:g}")
    elif written.default is not None and not written.min <= written.default <= written.max:
        low, high = f"min {written.min:g}", f"max {written.max:g}"
        said = f"{written.default:g} is not between {low} and {high}"
        problems.add((*path, "default"), said)
    default = None if written.default is None else float(written.default)
    return NumberPolicy(default, float(written.min), float(written.max), written.outside)


def _choices(written: ChoicesSection, path: Path, problems: Problems) -> NumberPolicy:
    if written.pin is not None:
        _alone(written.model_fields_set & {"default", "max"}, path, problems)
        return NumberPolicy(written.pin, written.pin, written.pin, written.outside, pinned=True)
    if written.default is not None and written.default > written.max:
        problems.add((*path, "default"), f"{written.default} is more than max {written.max}")
    return NumberPolicy(written.default, 1, written.max, written.outside)


def _seed(written: SeedSection, path: Path, problems: Problems) -> NumberPolicy:
    if written.pin is not None:
        _alone(written.model_fields_set & {"default"}, path, problems)
        return NumberPolicy(written.pin, written.pin, written.pin, written.outside, pinned=True)
    return NumberPolicy(written.default, *_SEEDS, written.outside)


def _efforts(section: JobSection, path: Path, problems: Problems) -> EffortPolicy | None:
    written = section.reasoning_effort
    if not isinstance(written, EffortSection):
        return None
    if written.pin is not None:
        _alone(written.model_fields_set & {"default", "min", "max"}, path, problems)
        return EffortPolicy((written.pin,), written.outside, pinned=True)
    least, most = EFFORTS.index(written.min), EFFORTS.index(written.max)
    allowed = EFFORTS[least : most + 1]
    if not allowed:
        problems.add(path, f"min {written.min} is more than max {written.max}")
    elif written.default is not None and written.default not in allowed:
        said = f"{written.default} is not between min {written.min} and max {written.max}"
        problems.add((*path, "default"), said)
    return EffortPolicy(allowed, written.outside)


def _tools(section: JobSection) -> ToolsPolicy | None:
    written = section.tools
    if written is None:
        return None
    if isinstance(written, str):
        return ToolsPolicy(frozenset(), _CLOSED[written])
    return ToolsPolicy(frozenset(written.allow), written.outside)


def _format(section: JobSection, path: Path, problems: Problems) -> FormatPolicy | None:
    written = section.response_format
    if written is None:
        return None
    if isinstance(written, str):
        return FormatPolicy(frozenset({"text"}), outside=_CLOSED[written])
    if written.pin is not None:
        _alone(written.model_fields_set & {"default", "allow"}, path, problems)
    stated = written.default if written.pin is None else written.pin
    name = "default" if written.pin is None else "pin"
    default = _wanted(stated, (*path, name), problems)
    if written.pin is not None and default is not None:
        kinds = frozenset({str(default["type"])})
        return FormatPolicy(kinds, default, written.outside, pinned=True)
    allowed = _allowed(written)
    if default is not None and default["type"] not in allowed:
        problems.add((*path, "default"), f"{default['type']} is not among those of allow")
    if default is None and "text" not in allowed and written.outside == "clamp":
        said = "without text in allow, say with default what an answer becomes; or refuse"
        problems.add((*path, "allow"), said)
    return FormatPolicy(allowed, default, written.outside)


def _allowed(written: FormatSection) -> frozenset[str]:
    return frozenset(written.allow or ("text", "json_object", "json_schema"))


def _wanted(
    stated: str | SchemaFormatSection | None, path: Path, problems: Problems
) -> Mapping[str, Any] | None:
    if stated is None:
        return None
    if isinstance(stated, str):
        return {"type": stated}
    described = stated.json_schema
    if not isinstance(described.get("name"), str) or not isinstance(described.get("schema"), dict):
        problems.add((*path, "json_schema"), "needs a name, and a schema")
    return {"type": stated.type, "json_schema": described}


def _alone(others: set[str], path: Path, problems: Problems) -> None:
    """A pin leaves nothing for other fields to say."""
    for name in sorted(others):
        problems.add((*path, name), "has no meaning beside a pin; leave one of them out")


def surprises(job: Job, target: Target) -> Iterator[str]:
    """What the target will not do although the job says it, each as a sentence."""
    rules, effort_sent = target.rules, job.reasoning_effort
    if target.output_limit is not None and job.output.max > target.output_limit:
        yield (
            f"{target.name} writes at most {target.output_limit} tokens; the job's limit of "
            f"{job.output.max} is cut to that"
        )
    if effort_sent is not None and rules.efforts is not None and effort_sent not in rules.efforts:
        # "none" is what a model without reasoning does anyway.
        if effort_sent != "none" or rules.efforts:
            yield f"reasoning_effort dropped: {target.name} does not take {effort_sent}"
        effort_sent = None
    if job.temperature.default is not None:
        yield from _of_temperature(job.temperature.default, effort_sent, target)
    if job.limits is not None:
        yield from _of_limits(job, job.limits, effort_sent, target)


def _of_temperature(default: float, effort_sent: str | None, target: Target) -> Iterator[str]:
    rules, reasons = target.rules, effort_sent not in (None, "none")
    fixed = rules.thinking_fixes_temperature and reasons and default != 1
    if fixed or _not_sampled(rules, effort_sent):
        unless = "" if rules.sampling == "never" else " unless reasoning_effort is none"
        yield f"temperature dropped: {target.name} refuses it{unless}"
    elif not rules.temperature_min <= default <= rules.temperature_max:
        yield (
            f"temperature {default:g} is sent as the nearest that {target.name} takes, "
            f"{rules.temperature_min:g} to {rules.temperature_max:g}"
        )


def _of_limits(job: Job, policy: Limits, effort_sent: str | None, target: Target) -> Iterator[str]:
    rules = target.rules
    if policy.top_p is not None and policy.top_p.default is not None:
        if _not_sampled(rules, effort_sent):
            yield f"top_p dropped: {target.name} refuses it"
        elif not rules.top_p_with_temperature and job.temperature.default is not None:
            yield f"top_p dropped: {target.name} refuses it with temperature"
    if policy.seed is not None and policy.seed.default is not None and "seed" in rules.refused:
        yield f"seed dropped: {target.name} does not take it"
    if policy.n is not None and (policy.n.default or 1) > rules.choices_max:
        yield f"n is cut to {rules.choices_max}: {target.name} answers no more"


def _not_sampled(rules: ParameterRules, effort_sent: str | None) -> bool:
    if rules.sampling == "effort_unset_or_none":
        return effort_sent not in (None, "none")
    return rules.sampling == "never" or (rules.sampling == "effort_none" and effort_sent != "none")
