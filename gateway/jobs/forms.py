"""Which forms of request a provider understands as they are.

Chat is translated for every provider. The other forms are passed through, because their usage
is exact only in the words of the provider that made it; a job whose targets do not speak a form
is refused with the jobs that do.
"""

from __future__ import annotations

from gateway.jobs.routes import Job, Provider, Target

CHAT, EMBEDDINGS, RESPONSES, MESSAGES = "chat", "embeddings", "responses", "messages"

_BY_FLAVOUR = {
    EMBEDDINGS: frozenset(
        {"openai", "azure", "mistral", "ollama", "llamacpp", "vllm", "openrouter", "gemini"}
    ),
    RESPONSES: frozenset(
        {"openai", "azure", "xai", "groq", "openrouter", "deepseek", "llamacpp", "vllm", "ollama"}
    ),
}
"""Flavours of OpenAI-compatible providers that have a form (their API references, late 2026)."""


def speaks(provider: Provider, form: str) -> bool:
    """Whether requests of this form can be sent to the provider as they are."""
    if form == CHAT:
        return True
    if form == MESSAGES:
        return provider.wire == "anthropic"
    return provider.wire == "openai" and (
        provider.flavour == "generic" or provider.flavour in _BY_FLAVOUR[form]
    )


def targets_for(job: Job, form: str) -> tuple[Target, ...]:
    """The job's targets that understand a form, in their order; maybe none."""
    if form == CHAT:
        return job.targets
    return tuple(target for target in job.targets if speaks(target.provider, form))
