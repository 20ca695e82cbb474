"""Where a job may be sent: the one function that decides, for every path there is (law 11).

A job with `residency: on_prem` reaches on-prem providers alone. `may_reach` is asked three times:
when the file is loaded, for every target of every chain; when a gateway is built from rules,
wherever those came from (`prove`); and for each attempt, before anything is held or sent.
What counts as on-prem is what the file states, except where it cannot be true: an address of a
well-known cloud, or a model that a local server forwards to a cloud.

`PATHS` are all paths on which something of a request could leave. The words of a request go to
providers and nowhere else: fallbacks, retries, downgrades and canaries are targets of the job's
chains, tokens are counted in this process, answers are kept in its memory. Alerts, logs, metrics
and traces have names, counts and money, and never words (law 13), so they may go where they are
told to; whoever wants one of them to carry words has to say so here, and is then held to the law.
One thing in an alert is held to it: the value of a tag, which a caller has written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from gateway.errors import ConfigurationError
from gateway.jobs.routes import Job, Residency, Routes, Scope, Target

Carries = Literal["words", "figures"]

PATHS: Mapping[str, Carries] = MappingProxyType(
    {
        "target": "words",
        "fallback": "words",
        "retry": "words",
        "downgrade": "words",
        "canary": "words",
        "token counting": "words",
        "kept answers": "words",
        "alerts": "figures",
        "tag values in alerts": "words",
        "logs": "figures",
        "metrics": "figures",
        "traces": "figures",
    }
)
"""What each path carries of a request."""

CLOUD_HOSTS = (
    "ai21.com",
    "aliyuncs.com",
    "amazonaws.com",
    "anthropic.com",
    "api.aws",
    "azure.com",
    "baseten.co",
    "cerebras.ai",
    "cloudflare.com",
    "cohere.ai",
    "cohere.com",
    "databricks.com",
    "deepinfra.com",
    "deepseek.com",
    "fireworks.ai",
    "google.com",
    "googleapis.com",
    "groq.com",
    "huggingface.cloud",
    "huggingface.co",
    "hyperbolic.xyz",
    "mistral.ai",
    "modal.run",
    "moonshot.ai",
    "nebius.com",
    "novita.ai",
    "nvidia.com",
    "ollama.com",
    "openai.com",
    "openrouter.ai",
    "perplexity.ai",
    "replicate.com",
    "sambanova.ai",
    "scaleway.ai",
    "together.ai",
    "together.xyz",
    "vercel.sh",
    "voyageai.com",
    "watsonx.ai",
    "x.ai",
    "z.ai",
)
"""Domains of public model services; a host equal to one, or under one, is not on-prem."""

_FORWARDED = ("-cloud", ":cloud")
"""Ends of Ollama model names that a local Ollama sends on to ollama.com."""


def may_reach(
    job: Literal["any", "on_prem"], place: Residency, carrying: Carries = "words"
) -> bool:
    """Whether something of a job with this residency may go to a place, on any path at all."""
    return job == "any" or place == "on_prem" or carrying == "figures"


def may_hear(scope: Scope, jobs: Iterable[Job], place: Residency) -> bool:
    """Whether a destination of alerts may hear for whom a budget is, by name.

    Jobs, teams, apps and keys are our own names, and amounts are figures: they may be heard
    anywhere, those of private jobs too. A tag's value is a caller's word: where a private job has
    the tag, it stays in the house; not when routes.yaml itself names it.
    """
    from_a_caller = scope.kind == "tag" and scope.value is None
    path = "tag values in alerts" if from_a_caller else "alerts"
    concerned = (job for job in jobs if scope.tag is None or scope.tag in job.tags)
    return all(may_reach(job.residency, place, PATHS[path]) for job in concerned)


def way_out(job: str, path: str, target: Target) -> str:
    """The sentence about a path that leads a private job out of the house."""
    via = "" if path == "target" else f"{path} -> "
    return (
        f"a job with residency on_prem cannot reach a cloud: {job} -> {via}{target.name} -> "
        f"provider {target.provider.name} (residency: {target.provider.residency})"
    )


def ways(job: Job) -> Iterator[tuple[str, Target]]:
    """Every target that a request for the job can come to, and by which of PATHS.

    A retry asks the same target again, and a downgrade one of the same chain.
    """
    for index, target in enumerate(job.targets):
        yield ("fallback" if index else "target"), target
    if job.canary is not None:
        for target in job.canary.own:
            yield "canary", target
        for target in job.canary.others:
            yield "fallback", target


def prove(routes: Routes) -> None:
    """Nothing private can leave the house by these rules, whoever made them.

    Raises ConfigurationError with every path that leads out.
    """
    found = [
        way_out(job.name, path, target)
        for job in routes.jobs.values()
        for path, target in ways(job)
        if not may_reach(job.residency, target.provider.residency, PATHS[path])
    ]
    if found:
        raise ConfigurationError(found)


def is_public_cloud(host: str) -> bool:
    """Whether a host name belongs to a well-known public model service."""
    host = host.lower().rstrip(".")
    return any(host == known or host.endswith("." + known) for known in CLOUD_HOSTS)


def is_forwarded(model: str) -> bool:
    """Whether a local server only forwards this model to a public cloud, by its name."""
    return model.lower().endswith(_FORWARDED)
