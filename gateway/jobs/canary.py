"""Which requests of a job go to its canary: always the same ones, and more as it grows.

What a request sticks by (its app, or the value of a tag) is hashed with the name of the job to a
place between 0 and 2**64; those below the canary's share are in it. So a caller stays on its
side, whoever stands in front of it stays in when the percentage grows, and two jobs do not try
their novelties on the same callers.

A canary has to do at least as well as what was there: where its targets fail, or refuse what the
others would take, the job's own targets are asked, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from gateway.jobs.forms import speaks, targets_for
from gateway.jobs.routes import Canary, Job, Target

PLACES = 2**64
IN_IT, AFTER_IT = "canary (", "after canary ("
"""How the notes of a canary's requests begin, in the header and in the entry: answered by a
target on trial; answered by the job's own because those did not."""


def place(job: str, value: str) -> int:
    """Where a value stands among all that there can be, from 0 up to 2**64."""
    digest = blake2b(f"{job}\0{value}".encode(errors="replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def canary_of(
    own: tuple[Target, ...], others: tuple[Target, ...], percent: float, tag: str | None
) -> Canary:
    """A canary whose targets say in every answer what they are."""
    says = f"{percent:g}% by {tag or 'app'})"
    tried = {target.name for target in own}
    usual = others[0].name if others else "nothing"
    return Canary(
        own=tuple(
            replace(t, note=f"{IN_IT}{says}: {t.name} in place of {usual}", on_trial=True)
            for t in own
        ),
        others=tuple(
            replace(t, note=f"{AFTER_IT}{says} did not answer")
            for t in others
            if t.name not in tried
        ),
        percent=percent,
        share=round(percent / 100 * PLACES),
        tag=tag,
    )


def described(job: Job) -> dict[str, Any] | None:
    """A job's canary in short, as JSON has it; None if it has none."""
    canary = job.canary
    if canary is None:
        return None
    return {
        "targets": [target.name for target in canary.own],
        "percent": canary.percent,
        "sticky": "app" if canary.tag is None else {"tag": canary.tag},
    }


def chain(job: Job, form: str, app: str, tags: Mapping[str, str]) -> tuple[Target, ...]:
    """The targets to ask, in order, of those that understand the form; maybe none."""
    canary = job.canary
    if canary is None:
        return targets_for(job, form)
    value = app if canary.tag is None else tags.get(canary.tag)
    if value is None or place(job.name, value) >= canary.share:
        return targets_for(job, form)
    tried = [target for target in canary.own if speaks(target.provider, form)]
    if not tried:
        return targets_for(job, form)
    return (*tried, *(target for target in canary.others if speaks(target.provider, form)))
