"""Where a job may be sent: the one function that decides, for every path there is (law 11).

A job with `residency: on_prem` reaches on-prem providers alone. The same function is asked when
the file is loaded (for every target of the chain) and wherever a request could leave the house.
What counts as on-prem is what the file states, except where it cannot be true: an address of a
well-known cloud, or a model that a local server forwards to a cloud.
"""

from __future__ import annotations

from typing import Literal

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


def may_reach(job: Literal["any", "on_prem"], provider: Literal["cloud", "on_prem"]) -> bool:
    """Whether a job of this residency may use a provider of that one, for any purpose at all."""
    return job == "any" or provider == "on_prem"


def is_public_cloud(host: str) -> bool:
    """Whether a host name belongs to a well-known public model service."""
    host = host.lower().rstrip(".")
    return any(host == known or host.endswith("." + known) for known in CLOUD_HOSTS)


def is_forwarded(model: str) -> bool:
    """Whether a local server only forwards this model to a public cloud, by its name."""
    return model.lower().endswith(_FORWARDED)
