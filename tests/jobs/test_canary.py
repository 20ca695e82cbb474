"""Who goes to a canary, that nobody changes sides by chance, and what cannot be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jobs.canary import PLACES, chain, place
from gateway.jobs.forms import CHAT, MESSAGES
from gateway.jobs.routes import Job
from tests.jobs.samples import changed, loaded, problems

OWNER = "    owner: data\n"
OWN, TRIED = "openai/gpt-4.1", "openai/gpt-4.1-mini"
NO_TAGS: Mapping[str, str] = {}


def a_job(percent: float, sticky: str = "app", targets: str = TRIED) -> Job:
    """The small file's job with a canary."""
    words = f"    canary: {{targets: [{targets}], percent: {percent}, sticky: {sticky}}}\n"
    return loaded(changed((OWNER, OWNER + words))).jobs["extraction"]


def names(job: Job, app: str, tags: Mapping[str, str] = NO_TAGS, form: str = CHAT) -> list[str]:
    """The targets that are asked, in order."""
    return [target.name for target in chain(job, form, app, tags)]


@given(st.text(max_size=40), st.floats(0, 100), st.floats(0, 100))
def test_who_is_in_a_canary_stays_in_it_when_it_grows(app: str, one: float, other: float) -> None:
    job = a_job(50)
    assert job.canary is not None
    small, large = sorted((one, other))
    inside = [
        names(replace(job, canary=replace(job.canary, share=round(percent / 100 * PLACES))), app)
        for percent in (small, large)
    ]
    assert not (inside[0] == [TRIED, OWN] and inside[1] == [OWN])


def test_nobody_is_in_an_empty_canary_and_everybody_in_a_full_one() -> None:
    nobody, everybody = a_job(0), a_job(100)
    for number in range(200):
        assert names(nobody, f"app-{number}") == [OWN]
        assert names(everybody, f"app-{number}") == [TRIED, OWN]


def test_about_as_many_are_in_it_as_it_says() -> None:
    job = a_job(10)
    inside = sum(len(names(job, f"app-{number}")) == 2 for number in range(4_000))
    assert 320 < inside < 480  # four standard deviations


def test_a_side_is_for_ever_and_another_job_has_other_sides() -> None:
    digest = blake2b(b"extraction\0site", digest_size=8).hexdigest()
    assert place("extraction", "site") == int(digest, 16), "as every version has to place it"
    sides = {job: [place(job, f"app-{n}") < PLACES // 2 for n in range(64)] for job in "ab"}
    assert sides["a"] != sides["b"]


def test_what_sticks_by_a_tag_goes_by_its_value_and_stays_out_without_one() -> None:
    job = a_job(100, "{tag: run}")
    assert names(job, "site", {"run": "nightly"}) == [TRIED, OWN]
    assert names(job, "site") == [OWN]
    half = a_job(50, "{tag: run}")
    runs = [names(half, app, {"run": f"r-{n}"}) for n in range(50) for app in ("one", "two")]
    assert runs[::2] == runs[1::2], "the app does not matter"
    assert 10 < sum(len(run) == 2 for run in runs[::2]) < 40


def test_its_targets_say_what_they_are_and_the_old_ones_that_they_had_to_help() -> None:
    first, second = chain(a_job(100), CHAT, "x", {})
    assert first.note == f"canary (100% by app): {TRIED} in place of {OWN}"
    assert second.note == "after canary (100% by app) did not answer"
    assert (first.on_trial, second.on_trial) == (True, False)


def test_a_canary_that_does_not_speak_a_form_is_not_asked_in_it() -> None:
    assert names(a_job(100), "x", form=MESSAGES) == []


def test_a_fallback_may_be_tried_in_the_first_place() -> None:
    both = (f"targets: [{OWN}]", f"targets: [{OWN}, {TRIED}]")
    canary = (OWNER, f"{OWNER}    canary: {{targets: [{TRIED}], percent: 100}}\n")
    assert names(loaded(changed(both, canary)).jobs["extraction"], "x") == [TRIED, OWN]


@pytest.mark.parametrize(
    ("canary", "problem"),
    [
        ("{targets: [opnai/x], percent: 1}", "canary.targets[0]: unknown provider 'opnai'; did"),
        (
            f"{{targets: [{TRIED}, {TRIED}], percent: 1}}",
            "canary.targets[1]: 'openai/gpt-4.1-mini'",
        ),
        (f"{{targets: [{OWN}], percent: 1}}", "are the job's own: there is nothing to try"),
        (f"{{targets: [{TRIED}], percent: 101}}", "canary.percent: must be less than or equal"),
        (f"{{targets: [{TRIED}], percent: -1}}", "canary.percent: must be greater than or equal"),
        (f"{{targets: [{TRIED}]}}", "canary.percent: is missing"),
        (f"{{targets: [{TRIED}], percent: 1, sticky: {{tag: rum}}}}", "no tag rum"),
        (f"{{targets: [{TRIED}], percent: 1, sticky: key}}", "canary.sticky: must be 'app'"),
        ("{targets: [], percent: 1}", "canary.targets: must have at least 1"),
    ],
)
def test_what_cannot_be_a_canary_is_a_problem(canary: str, problem: str) -> None:
    (found,) = problems(changed((OWNER, f"{OWNER}    canary: {canary}\n")))
    assert problem in found
    assert "jobs.extraction.canary" in found


def test_what_a_model_on_trial_will_not_do_is_a_warning() -> None:
    words = f"{OWNER}    canary: {{targets: [openai/o3], percent: 1}}\n"
    (warning,) = loaded(changed((OWNER, words))).warnings
    assert "canary.targets[0]: temperature dropped: openai/o3 refuses it" in warning


def test_a_private_job_tries_nothing_outside_the_house() -> None:
    own = "    residency: on_prem\n    targets"
    words = f"    residency: on_prem\n    canary: {{targets: [{OWN}], percent: 0}}\n    targets"
    assert problems(changed((own, words))) == [
        "routes.yaml:28: jobs.private.canary.targets[0]: a job with residency on_prem cannot reach "
        "a cloud: private -> canary -> openai/gpt-4.1 -> provider openai (residency: cloud)"
    ]
