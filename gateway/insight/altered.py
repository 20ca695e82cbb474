"""Parameters that were, and would be, changed in a request: as far as the ledger can tell.

An entry says what was changed and not what was asked, but a change says both: from
"temperature=1.5->1.0 (job maximum)" one knows that 1.5 was asked, so the new rules can be asked
what they would make of it. What was passed on as it came is not recorded at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import msgspec

from gateway.errors import BadRequest
from gateway.jobs.parameters import apply
from gateway.jobs.routes import Job, Routes, Target

_CHANGE = re.compile(
    r"(temperature|top_p|n|max_tokens|max_completion_tokens|max_output_tokens)"
    r"=([0-9.]{1,20})->[^ ]+ \((?!budget)"
)
_NUMBERS = re.compile(r"=[^ ]*->")
_REMEMBERED = 10_000

Told = Counter[tuple[str, str]]
"""How many requests of a job were, or would be, told a sentence."""


class Altered:
    """Counts what was told about requests, and what would be told by other rules."""

    def __init__(self) -> None:
        self.before: Told = Counter()
        self.after: Told = Counter()
        self._known: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}

    def add(self, old_job: str, job: Job, target: Target, changed: str) -> None:
        """One request that was told `changed`, and would go to this target of this job."""
        key = (job.name, target.name, changed)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = _was_told(changed), _would_be_told(job, target, changed)
        was, would_be = self._known[key]
        for sentence in was:
            self.before[old_job, sentence] += 1
        for sentence in would_be:
            self.after[old_job, sentence] += 1


def _was_told(changed: str) -> list[str]:
    return [_general(part) for part in changed.split("; ") if _CHANGE.match(part)]


def _would_be_told(job: Job, target: Target, changed: str) -> list[str]:
    asked: dict[str, msgspec.Raw] = {}
    for part in changed.split("; "):
        found = _CHANGE.match(part)
        if found:  # the first change of a field has what was asked
            asked.setdefault(found[1].replace("output_", ""), msgspec.Raw(found[2].encode()))
    if not asked:
        return []
    try:
        told = apply(job, target, asked).changes
    except BadRequest as error:
        return [f"refused: {error.param} is outside of what the job allows"]
    return [_general(sentence) for sentence in told]


def _general(sentence: str) -> str:
    """A sentence that says the same of all requests: "temperature -> 1.0 (job maximum)"."""
    return _NUMBERS.sub(" -> ", sentence)


def defaults_changed(live: Routes, new: Routes) -> dict[str, list[str]]:
    """By job: what its first target would be sent otherwise when a caller states nothing."""
    found = {}
    for name, old_job in live.jobs.items():
        job = new.named.get(name)
        if job is None:
            continue
        was, will_be = _stated(old_job), _stated(job)
        told = [
            f"{field} {was.get(field, 'not sent')} -> {will_be.get(field, 'not sent')}"
            for field in sorted(was.keys() | will_be.keys())
            if was.get(field) != will_be.get(field)
        ]
        if old_job.system != job.system:
            told.append("the system prompt is another")
        if told:
            found[name] = told
    return found


def _stated(job: Job) -> Mapping[str, str]:
    """What is sent to the first target of a job for a request that states nothing."""
    effective = apply(job, job.targets[0], {})
    sent = {n: v.decode() for n, v in effective.set.items() if n not in ("model", "messages")}
    limits = [n for n in ("max_tokens", "max_completion_tokens") if n in sent]
    for name in limits:  # the same under whichever name the model knows it by
        sent["output limit"] = sent.pop(name)
    return sent
